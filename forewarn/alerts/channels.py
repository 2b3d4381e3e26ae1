"""Over which channels alerts are told: Slack, PagerDuty, e-mail, a webhook of one's own.

A channel that fails, fails alone: it is logged and counted, and whoever raised the alert goes on. No address or secret
stands in a log or in an error.
"""

import hmac
import logging
import os
import smtplib
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from forewarn.alerts import Notice, Severity, Told, badness
from forewarn.errors import BadInput, ForewarnError

log = logging.getLogger(__name__)

# What a channel may fail of; a ValueError is a password or an address that cannot be sent as it is.
FAILURES = (ForewarnError, OSError, ValueError)
SILENT = "it did not answer in time"
SIGNATURE = "X-Forewarn-Signature"
MOST_OF_A_SUMMARY = 1024
ADDRESS = Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]


class Channel(BaseModel):
    """One way to tell somebody. Its secrets are read each time it is used: a new one needs no restart, and a missing
    one is this channel's failure alone.

    Attributes:
        SECRETS: what it reads from the environment or a file, and whether it must.
        least: it hears of nothing milder.
        timeout_seconds: for each step of a call: to connect, to send, to be answered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    SECRETS: ClassVar[Mapping[str, bool]] = {}

    name: str = Field(min_length=1, max_length=64)
    least: Severity = "warning"
    timeout_seconds: float = Field(default=5.0, gt=0, le=60)

    def hears(self, severity: str) -> bool:
        """Whether it is told of what is so bad."""
        return badness(severity) >= badness(self.least)

    def tell(self, notice: Notice) -> None:
        """Pass it on.

        Raises:
            ForewarnError, OSError, ValueError: it was not taken.
        """
        raise NotImplementedError

    @model_validator(mode="after")
    def _secrets_are_named(self) -> Self:
        for what, needed in self.SECRETS.items():
            named = [name for name in (f"{what}_env", f"{what}_file") if getattr(self, name)]
            if len(named) > 1 or (needed and not named):
                raise ValueError(f"give {what}_env: NAME_OF_A_VARIABLE or {what}_file: /path, one of the two")
        return self

    def _names(self, what: str) -> bool:
        return bool(getattr(self, f"{what}_env") or getattr(self, f"{what}_file"))

    def _secret(self, what: str) -> str:
        """The name of the variable is not told where it is missing: somebody may have put the secret itself there."""
        variable, file = getattr(self, f"{what}_env"), getattr(self, f"{what}_file")
        try:
            found = str(file.read_text() if file else os.environ.get(variable, "")).strip()
        except OSError as error:
            raise BadInput(f"the file that its {what}_file names cannot be read: {error.strerror}") from None
        if not found:
            raise BadInput(f"what its {what}_{'file' if file else 'env'} names is not set, or empty")
        return found


class Poster(Channel):
    """A channel that is told by an HTTP POST of JSON."""

    def _post(self, url: str, facts: Mapping[str, Any], *, secret: str = "") -> None:
        import httpx  # a tenth of a second that only whoever tells waits for

        body = orjson.dumps(facts, default=str, option=orjson.OPT_SERIALIZE_NUMPY)
        headers = {"Content-Type": "application/json"}
        if secret:
            headers[SIGNATURE] = f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"
        try:  # what the answer says is not waited for
            with (
                _unlogged(),
                httpx.Client(timeout=self.timeout_seconds) as client,
                client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                status, taken = answer.status_code, answer.is_success
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ForewarnError(_reason(error)) from None
        if not taken:
            raise ForewarnError(f"it answered {status}")


class Slack(Poster):
    """An incoming webhook, whose address is its secret."""

    SECRETS = {"url": True}
    kind: Literal["slack"]
    url_env: str = ""
    url_file: Path | None = None

    def tell(self, notice: Notice) -> None:
        """As `Channel.tell`."""
        title, *lines = map(_escaped, (notice.title, *notice.lines))
        link = [f"<{notice.link}|Runbook>"] if notice.link else []
        self._post(self._secret("url"), {"text": "\n".join([f"*{title}*", *lines, *link])})


class PagerDuty(Poster):
    """Events API v2: an alert is an incident, which its end resolves."""

    SECRETS = {"routing_key": True}
    kind: Literal["pagerduty"]
    routing_key_env: str = ""
    routing_key_file: Path | None = None
    endpoint: str = Field(default="https://events.pagerduty.com/v2/enqueue", pattern="^https?://")

    def tell(self, notice: Notice) -> None:
        """As `Channel.tell`."""
        incident = {"routing_key": self._secret("routing_key"), "dedup_key": notice.key}
        links = [{"href": notice.link, "text": "Runbook"}] if notice.link else []
        trigger = {"event_action": "trigger", "payload": _payload(notice), "links": links}
        self._post(self.endpoint, {**incident, **({"event_action": "resolve"} if notice.over else trigger)})


class Webhook(Poster):
    """All that is known, as JSON; with a secret, X-Forewarn-Signature holds the body's HMAC-SHA256."""

    SECRETS = {"url": True, "secret": False}
    kind: Literal["webhook"]
    url_env: str = ""
    url_file: Path | None = None
    secret_env: str = ""
    secret_file: Path | None = None

    def tell(self, notice: Notice) -> None:
        """As `Channel.tell`."""
        secret = self._secret("secret") if self._names("secret") else ""
        self._post(self._secret("url"), notice.facts, secret=secret)


class Email(Channel):
    """SMTP, over STARTTLS or TLS unless the plan says none."""

    SECRETS = {"password": False}
    kind: Literal["email"]
    host: str = Field(min_length=1)
    port: int = Field(default=587, ge=1, le=65535)
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password_env: str = ""
    password_file: Path | None = None
    sender: ADDRESS
    to: tuple[ADDRESS, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _login_is_whole_and_hidden(self) -> Self:
        if bool(self.user) != self._names("password"):
            raise ValueError("give user, and password_env or password_file, or none of them")
        if self.user and self.tls == "none":
            raise ValueError("a password does not travel in clear: tls is starttls or tls where there is a user")
        return self

    def tell(self, notice: Notice) -> None:
        """As `Channel.tell`. It was taken where one of the recipients was."""
        password = self._secret("password") if self.user else ""
        with self._connected() as server:
            if self.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if self.user:
                server.login(self.user, password)
            refused = server.send_message(self._letter(notice))
        if refused:
            log.warning("alerts: %s refused %d of %d recipients", self.name, len(refused), len(self.to))

    def _connected(self) -> smtplib.SMTP:
        """It greets by the sender's domain: the machine's own may take the resolver half a minute to say."""
        domain = self.sender.rpartition("@")[2]
        if self.tls == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, self.port, domain, timeout=self.timeout_seconds, context=context)
        return smtplib.SMTP(self.host, self.port, domain, timeout=self.timeout_seconds)

    def _letter(self, notice: Notice) -> EmailMessage:
        letter = EmailMessage()
        letter["Subject"], letter["From"], letter["To"] = notice.title, self.sender, ", ".join(self.to)
        letter["Date"], letter["Message-ID"] = formatdate(), make_msgid(domain=self.sender.rpartition("@")[2])
        letter.set_content("\n\n".join([*notice.lines, *([f"Runbook: {notice.link}"] if notice.link else [])]))
        return letter


def tell(channels: Iterable[Channel], notice: Notice) -> Told:
    """Every one of them; those that fail are logged."""
    told = Told()
    for channel in channels:
        try:
            channel.tell(notice)
            told += Told(sent={channel.name: 1})
        except FAILURES as error:
            reason = _reason(error)
            log.warning("alert %s: %s was not told: %s", notice.key, channel.name, reason)
            told += Told(failed={channel.name: 1}, reasons={channel.name: reason})
    return told


def _payload(notice: Notice) -> dict[str, Any]:
    alert = notice.alert
    return {
        "summary": f"{notice.title}: {alert.told}"[:MOST_OF_A_SUMMARY],
        "severity": alert.severity,
        "source": notice.installation,
        "component": alert.use_case,
        "class": alert.kind,
        "timestamp": notice.at,
        "custom_details": {**alert.figures, "text": alert.told, "since": notice.since, "times": notice.times},
    }


def _escaped(text: str) -> str:
    """In Slack these three begin a link or call a person."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _reason(error: BaseException) -> str:
    """In words that hold no address: those of HTTP's and SMTP's own errors may."""
    if isinstance(error, ForewarnError):
        return str(error)
    if isinstance(error, smtplib.SMTPResponseException):
        return f"it answered {error.smtp_code}"
    causes = list(_causes(error))
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return SILENT
    said = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), "")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


_calling: ContextVar[bool] = ContextVar("calling", default=False)


def _is_foreign(_: logging.LogRecord) -> bool:
    return not _calling.get()


@contextmanager
def _unlogged() -> Iterator[None]:
    """httpx logs the whole address of each call at INFO; that of a Slack webhook is a secret. Others' calls stay."""
    logging.getLogger("httpx").addFilter(_is_foreign)
    token = _calling.set(True)
    try:
        yield
    finally:
        _calling.reset(token)
