"""What is told over which channel, to real servers; and what a channel that fails may not do."""

import email
import email.policy
import hmac
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml

from forewarn.alerts import SEVERITIES, Alert, Notice, Told, channels
from forewarn.alerts.channels import SIGNATURE, SILENT, Channel, Email, PagerDuty, Slack, Webhook
from forewarn.alerts.plan import Plan
from forewarn.errors import BadInput
from forewarn.settings import PROJECT, Settings
from jobs.machine import free_port
from tests.listeners import PASSWORD, USER, Listener, listening, post_office, self_signed

AT = "2026-11-27T09:00:00.000000Z"
ALERT = Alert(
    use_case="attrition", name="drift:MonthlyIncome", severity="critical", text="MonthlyIncome <has> moved & stayed.",
    figures={"psi": 0.31249, "limit": 0.25, "rows": 12345.0, "window": "7 days"},
)  # fmt: skip
NOTICE = Notice(alert=ALERT, at=AT, since=AT, times=3, runbook="https://wiki.example.org/alerts")
OVER = Notice(alert=ALERT, at=AT, since=AT, over=True, why="It is back.", runbook="https://wiki.example.org/alerts")
DOCS = (PROJECT / "docs" / "alerts.md").read_text()
SECRET = "T0/B0/vErYsEcReT"
LETTER = {"kind": "email", "name": "mail", "host": "127.0.0.1", "sender": "f@example.org", "to": ["a@example.org"]}


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as heard:
        yield heard


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That whoever sends a letter trusts."""
    made = self_signed(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(made))
    return made


@pytest.fixture
def environment(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("HOOK", f"{listener.url}/{SECRET}")
    monkeypatch.setenv("SECRET", SECRET)
    monkeypatch.setenv("PASSWORD", PASSWORD)
    return monkeypatch


@pytest.mark.requirement("S2-54")
@pytest.mark.requirement("S2-57")
def test_slack_names_the_field_its_figures_and_the_runbook(environment: object, listener: Listener) -> None:
    slack = Slack(kind="slack", name="people", url_env="HOOK")
    assert channels.tell([slack], NOTICE) == Told(sent={"people": 1})
    channels.tell([slack], OVER)
    raised, over = (body["text"] for body in listener.bodies(f"/{SECRET}"))
    assert raised.splitlines() == [
        "*[forewarn] CRITICAL attrition drift:MonthlyIncome*",
        "MonthlyIncome &lt;has&gt; moved &amp; stayed (psi 0.3125, limit 0.25, rows 12,345, window 7 days).",
        "Since 2026-11-27 09:00 UTC, seen 3 times.",
        "<https://wiki.example.org/alerts#drift|Runbook>",
    ]
    assert over.startswith("*[forewarn] RESOLVED attrition drift:MonthlyIncome*")
    assert "Over: It is back." in over


@pytest.mark.requirement("S2-57")
def test_pagerduty_opens_an_incident_and_resolves_the_same(environment: object, listener: Listener) -> None:
    pager = PagerDuty(kind="pagerduty", name="on-call", routing_key_env="SECRET", endpoint=f"{listener.url}/v2/enqueue")
    listener.status["/v2/enqueue"] = 202
    for notice in (NOTICE, OVER):
        assert channels.tell([pager], notice).sent == {"on-call": 1}
    trigger, resolve = listener.bodies("/v2/enqueue")
    key = "forewarn/attrition/drift:MonthlyIncome"
    assert resolve == {"routing_key": SECRET, "dedup_key": key, "event_action": "resolve"}
    assert (trigger["dedup_key"], trigger["event_action"], trigger["routing_key"]) == (key, "trigger", SECRET)
    assert "drift:MonthlyIncome" in trigger["payload"]["summary"]
    assert (trigger["payload"]["severity"], trigger["payload"]["source"]) == ("critical", "forewarn")
    assert trigger["payload"]["custom_details"]["psi"] == 0.31249
    assert trigger["links"] == [{"href": "https://wiki.example.org/alerts#drift", "text": "Runbook"}]


def test_a_key_is_the_alert_s_own_and_never_too_long() -> None:
    long = [Alert(use_case="u" * 128, name="n" * 127 + end, severity="info", text="x") for end in "ab"]
    one, other = (Notice(alert=alert, at=AT, since=AT) for alert in long)
    assert (len(one.key), one.key == other.key) == (64, False)
    two = (Notice(alert=ALERT, at=AT, since=AT, installation=name).key for name in ("staging", "production"))
    assert len(set(two)) == 2


@pytest.mark.requirement("S2-57")
def test_a_webhook_is_told_all_of_it_and_signed(environment: object, listener: Listener) -> None:
    alert = Alert(use_case="", name="job:drift", severity="info", text="It failed.", figures={"code": np.float32(2)})
    plain = Webhook(kind="webhook", name="plain", url_env="HOOK")
    signed = Webhook(kind="webhook", name="signed", url_env="HOOK", secret_env="SECRET")
    channels.tell([plain, signed], Notice(alert=alert, at=AT, since=AT))
    (_, one, _), (_, other, body) = listener.posted
    assert SIGNATURE not in one
    assert other[SIGNATURE] == "sha256=" + hmac.digest(SECRET.encode(), body, "sha256").hex()
    told = listener.bodies(f"/{SECRET}")[1]
    assert told["text"] == "It failed (code 2)."
    assert (told["event"], told["kind"], told["figures"], told["at"]) == ("raised", "job", {"code": 2.0}, AT)


@pytest.mark.requirement("S2-57")
@pytest.mark.parametrize("tls", ["starttls", "tls", "none"])
def test_a_letter_arrives(environment: object, certificate: Path, tls: str) -> None:
    login = {} if tls == "none" else {"user": USER, "password_env": "PASSWORD"}
    with post_office(tls, certificate) as box:
        mail = Email.model_validate({**LETTER, "tls": tls, "port": box.port, "to": ["a@b.org", "c@d.org"], **login})
        assert channels.tell([mail], NOTICE) == Told(sent={"mail": 1})
    ((to, content),) = box.letters
    letter = email.message_from_bytes(content, policy=email.policy.default)
    assert (to, box.hidden, letter["To"]) == (["a@b.org", "c@d.org"], [tls == "starttls"], "a@b.org, c@d.org")
    assert box.users == [USER.encode() if login else None]
    assert letter["Subject"] == "[forewarn] CRITICAL attrition drift:MonthlyIncome"
    assert "(psi 0.3125, limit 0.25, rows 12,345, window 7 days)" in letter.get_content()
    assert "Runbook: https://wiki.example.org/alerts#drift" in letter.get_content()


def test_a_letter_that_some_get_was_sent(certificate: Path, caplog: pytest.LogCaptureFixture) -> None:
    with post_office("none", certificate) as box:
        mail = Email.model_validate({**LETTER, "tls": "none", "port": box.port, "to": ["gone@b.org", "c@d.org"]})
        box.refuses = {"gone@b.org"}
        assert channels.tell([mail], NOTICE).sent == {"mail": 1}
        box.refuses |= {"c@d.org"}
        assert channels.tell([mail], NOTICE).failed == {"mail": 1}
    assert "refused 1 of 2 recipients" in caplog.text
    assert "gone@b.org" not in caplog.text


def test_nobody_logs_in_at_a_server_that_cannot_prove_who_it_is(
    environment: pytest.MonkeyPatch, certificate: Path
) -> None:
    environment.delenv("SSL_CERT_FILE")
    with post_office("starttls", certificate) as box:
        mail = Email.model_validate({**LETTER, "port": box.port, "user": USER, "password_env": "PASSWORD"})
        told = channels.tell([mail], NOTICE)
    assert "CERTIFICATE_VERIFY_FAILED" in told.reasons["mail"]
    assert not box.letters


def broken(listener: Listener) -> dict[str, tuple[Channel, str]]:
    """Channels that fail, and what is said of each."""
    pager = {"kind": "pagerduty", "name": "x", "routing_key_env": "SECRET"}
    silent = {**pager, "endpoint": f"{listener.url}/silent", "timeout_seconds": 0.1}
    nobody = f"http://127.0.0.1:{free_port()}"
    return {
        "refused": (PagerDuty(**{**pager, "endpoint": nobody}), "ConnectError: Connection refused"),
        "error": (PagerDuty(**{**pager, "endpoint": f"{listener.url}/error"}), "it answered 500"),
        "elsewhere": (PagerDuty(**{**pager, "endpoint": f"{listener.url}/moved"}), "it answered 302"),
        "silent": (PagerDuty(**silent), SILENT),
        "no address": (Slack(kind="slack", name="x", url_env="SECRET"), "UnsupportedProtocol"),
        "bad address": (Slack(kind="slack", name="x", url_env="BAD"), "InvalidURL"),
        "not set": (Slack(kind="slack", name="x", url_env=SECRET), "what its url_env names is not set, or empty"),
        "no file": (Slack(kind="slack", name="x", url_file=Path(f"/{SECRET}")), "url_file names cannot be read"),
        "no server": (Email.model_validate({**LETTER, "name": "x", "port": free_port()}), "Connection refused"),
        "no name": (Email.model_validate({**LETTER, "name": "x", "host": "no.such.invalid"}), "gaierror"),
    }


@pytest.mark.parametrize("how", broken(Listener(url="http://127.0.0.1:1")))
def test_a_channel_that_fails_fails_alone_and_tells_no_secret(
    how: str, environment: pytest.MonkeyPatch, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    environment.setenv("BAD", f"https://x:{SECRET}")
    listener.status |= {"/error": 500, "/moved": 302}
    listener.silent.add("/silent")
    failing, said = broken(listener)[how]
    works = Slack(kind="slack", name="works", url_env="HOOK")
    told = channels.tell([failing, works], NOTICE)
    assert (told.sent, told.failed) == ({"works": 1}, {"x": 1})
    assert said in told.reasons["x"]
    assert said in caplog.text
    assert "vErYsEcReT" not in caplog.text + str(told)


def test_a_wrong_password_is_told_by_its_number(
    environment: pytest.MonkeyPatch, certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for wrong, said in ((SECRET, "it answered 535"), (f"ü{SECRET}", "UnicodeEncodeError")):
        environment.setenv("PASSWORD", wrong)
        with post_office("starttls", certificate) as box:
            mail = Email.model_validate({**LETTER, "port": box.port, "user": USER, "password_env": "PASSWORD"})
            assert said in channels.tell([mail], NOTICE).reasons["mail"]
    assert "vErYsEcReT" not in caplog.text


def test_what_others_ask_over_http_is_logged_as_before(
    environment: object, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    channels.tell([Slack(kind="slack", name="people", url_env="HOOK")], NOTICE)
    assert "vErYsEcReT" not in caplog.text
    httpx.post(f"{listener.url}/other", json={})
    assert f"{listener.url}/other" in caplog.text


def test_a_secret_may_lie_in_a_file_and_is_read_anew(tmp_path: Path, listener: Listener) -> None:
    file = tmp_path / "slack"
    slack = Slack(kind="slack", name="people", url_file=file)
    for path in ("/one", "/two"):
        file.write_text(f"{listener.url}{path}\n")
        channels.tell([slack], NOTICE)
    assert [path for path, _, _ in listener.posted] == ["/one", "/two"]


@pytest.mark.parametrize("least", SEVERITIES)
def test_a_channel_hears_of_nothing_milder_than_it_wants(least: str) -> None:
    slack = Slack.model_validate({"kind": "slack", "name": "x", "url_env": "HOOK", "least": least})
    heard = [severity for severity in SEVERITIES if slack.hears(severity)]
    assert heard == list(SEVERITIES[SEVERITIES.index(least) :])  # type: ignore[arg-type]


@pytest.mark.parametrize(("severity", "name"), [("bad", "x"), ("info", ""), ("info", "n" * 129)])
def test_an_alert_that_cannot_be_is_refused(severity: str, name: str) -> None:
    with pytest.raises(ValueError, match=r"severity|characters"):
        Alert(use_case="churn", name=name, severity=severity, text="")  # type: ignore[arg-type]


def test_the_file_s_place(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Plan.read(settings) == Plan()
    settings.make_home()
    (settings.home / "alerts.yaml").write_text("runbook: https://here\n")
    assert Plan.read(settings).runbook == "https://here"
    (tmp_path / "mine.yaml").write_text("")
    monkeypatch.setenv("FOREWARN_ALERTS", str(tmp_path / "mine.yaml"))
    assert Plan.read(Settings(home=settings.home)) == Plan()
    monkeypatch.setenv("FOREWARN_ALERTS", str(tmp_path / "none.yaml"))
    with pytest.raises(BadInput, match=r"none.yaml: No such file.*docs/alerts.md"):
        Plan.read(Settings(home=settings.home))


def test_the_documentation_s_example_is_a_plan_and_has_a_runbook(settings: Settings) -> None:
    block = re.search(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
    assert block
    plan = Plan.model_validate(yaml.safe_load(block[1]))
    assert [channel.kind for channel in plan.channels] == ["slack", "pagerduty", "email", "webhook"]
    assert {"drift", "degraded", "unfair", "release", "job"} <= set(re.findall(r"^## (\w+)$", DOCS, re.MULTILINE))


SLACK = "channels: [{kind: slack, name: a, url_env: A%s}]"
MAIL = "channels: [{kind: email, name: m, host: h, sender: a@b.c, to: [a@b.c]%s}]"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (SLACK % f", url: https://hooks/{SECRET}", r"channels.0.slack.url: .*_env or …_file"),
        (f"channels: [{{kind: slack, name: a, url: {SECRET}}}]", "channels.0.slack"),
        ("channels: [{kind: slack, name: a}]", "give url_env: NAME_OF_A_VARIABLE or url_file: /path"),
        (SLACK % ", url_file: /x", "one of the two"),
        (SLACK % ", least: loud", r"channels.0.slack.least: .*'info', 'warning' or 'critical'"),
        (SLACK % ", timeout_seconds: 0", "timeout_seconds: .*greater than 0"),
        ("channels: [{kind: fax, name: a}]", r"channels.0: .*'slack', 'pagerduty', 'email', 'webhook'"),
        ("channels: [{name: a}]", "channels.0: "),
        (SLACK % "}, {kind: slack, name: a, url_env: A", "two channels are named a"),
        ("channels: [{kind: pagerduty, name: p, routing_key_env: A, endpoint: ftp://x}]", "endpoint: .*pattern"),
        (MAIL % ", user: u", "give user, and password_env or password_file, or none"),
        (MAIL % ", user: u, password_env: A, tls: none", "does not travel in clear"),
        (MAIL % ", port: 0", "channels.0.email.port: .*greater than or equal to 1"),
        ("cooldown_hours: -1", "cooldown_hours: .*greater than or equal to 0"),
        ("- a list", "the file: Input should be a valid dictionary"),
        (f"a: b\nroot: [{SECRET}", "line 3 is no YAML|line 2 is no YAML"),
        (b"\xff\xfe\x00", "is no"),
    ],
)
def test_a_file_that_says_what_no_channel_understands_is_refused_without_repeating_it(
    settings: Settings, written: str | bytes, said: str
) -> None:
    (settings.make_home() / "alerts.yaml").write_bytes(written if isinstance(written, bytes) else written.encode())
    with pytest.raises(BadInput, match=said) as refused:
        Plan.read(settings)
    assert "alerts.yaml: " in str(refused.value)
    assert "vErYsEcReT" not in str(refused.value)
