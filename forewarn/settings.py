"""Where things are: read from FOREWARN_* once, at the edge, and passed down."""

import getpass
import subprocess
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from forewarn.errors import CannotStart

PROJECT = Path(__file__).resolve().parents[1]

# Ray unpacks `--working-dir` below a folder of this name; what is written there is gone with the job.
THROW_AWAY = "runtime_resources"


def default_home() -> Path:
    """`.forewarn` in the project; refused in a job's throw-away copy of it, where state would be lost."""
    if THROW_AWAY in PROJECT.parts:
        raise CannotStart(
            "FOREWARN_HOME is not set on this Ray cluster, so a job would write into a folder that is deleted "
            "when it ends; start Ray with FOREWARN_HOME=/absolute/path in its environment"
        )
    return PROJECT / ".forewarn"


class Settings(BaseSettings):
    """One installation. Two homes share nothing, so they never disturb each other."""

    model_config = SettingsConfigDict(env_prefix="FOREWARN_", frozen=True, extra="ignore")

    home: Path = Field(default_factory=default_home, description="Folder that holds all state.")
    api_key: SecretStr = Field(default=SecretStr(""), description="The installation's API key; empty: made up.")
    tracking_uri: str = Field(default="", description="MLflow tracking server; empty: SQLite in home.")
    port: int | None = Field(default=None, ge=1, le=65535, description="HTTP port; else serve_config.yaml's.")
    use_cases: Path | None = Field(default=None, description="Folder of further use cases.")
    alerts: Path | None = Field(default=None, description="File of whom to alert; else alerts.yaml in home.")
    schedule: Path | None = Field(default=None, description="What runs when; else schedule.yaml.")
    inbox: Path | None = Field(default=None, description="Folder that jobs over HTTP may read; else inbox in home.")
    inbox_uris: str = Field(default="", description="What else they may read: s3://…/ and databases, between commas.")
    features_uri: str = Field(default="", description="Feature store, as postgresql://…; empty: SQLite in home.")
    ledger_uri: str = Field(default="", description="Ledger, as postgresql://…; empty: SQLite in home.")
    redis_url: str = Field(default="", description="Redis for cache and quotas; empty: none.")
    id_secret: SecretStr = Field(default=SecretStr(""), description="Secrets for ids, hex, newest first; empty: made.")
    audit_secret: SecretStr = Field(default=SecretStr(""), description="Secret of the audit chain, hex; empty: made.")
    user: str = Field(default="", description="Who decides here; empty: the user of this machine.")
    four_eyes: bool = Field(default=False, description="Whoever trained a version may not approve it.")
    commit: str = Field(default="", description="The code's commit, where no checkout says it: in a job, an image.")
    dashboard_port: int = Field(default=8265, ge=1, le=65535, description="Ray dashboard, localhost only.")

    @field_validator("home", "use_cases", "alerts", "schedule", "inbox")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return path.expanduser().resolve() if path else None

    @property
    def whoami(self) -> str:
        """Whose decision it is."""
        return self.user or getpass.getuser()

    @property
    def git_sha(self) -> str:
        """The commit of this code; "unknown" where neither FOREWARN_COMMIT nor a checkout says it."""
        if self.commit:
            return self.commit
        asked = ["git", "-C", str(PROJECT), "rev-parse", "HEAD"]
        try:
            found = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
        except OSError:
            return "unknown"
        return found.stdout.strip() or "unknown"

    @property
    def mlflow_uri(self) -> str:
        """Absolute, because Ray's workers run in other folders than the driver."""
        return self.tracking_uri or f"sqlite:///{self.home / 'mlflow.db'}"

    @property
    def has_registry(self) -> bool:
        """Whether versions may be registered already."""
        return bool(self.tracking_uri) or (self.home / "mlflow.db").exists()

    @property
    def artifacts(self) -> Path:
        """MLflow's artefacts when it is embedded."""
        return self.home / "mlartifacts"

    @property
    def packages(self) -> Path:
        """Packages that may serve: packages/<use_case>/<version>/."""
        return self.home / "packages"

    @property
    def exports(self) -> Path:
        """What other tools read: models/<use_case>/<version>/ with the card."""
        return self.home / "models"

    @property
    def searches(self) -> Path:
        """Unfinished hyperparameter searches, so that they can be resumed."""
        return self.home / "searches"

    @property
    def local_key(self) -> Path:
        """The key made for whoever owns this installation; mode 0600."""
        return self.home / "secrets" / "api_key"

    @property
    def feature_store(self) -> str:
        """Where entity rows are kept."""
        return self.features_uri or f"sqlite:///{self.home / 'features.db'}"

    @property
    def ledger(self) -> str:
        """Where is written down what was answered, decided and came true."""
        return self.ledger_uri or f"sqlite:///{self.home / 'ledger.db'}"

    @property
    def spools(self) -> Path:
        """Lines on their way to the ledger, a folder for each process that writes them."""
        return self.home / "spools"

    @property
    def notices(self) -> Path:
        """What replicas last read of the ledger's notices, for when it does not answer."""
        return self.home / "notices.json"

    @property
    def id_key(self) -> Path:
        """The secret with which ids are HMAC'd before they touch a disk; mode 0600."""
        return self.home / "secrets" / "id_key"

    @property
    def audit_key(self) -> Path:
        """The secret under which audit lines are chained; mode 0600."""
        return self.home / "secrets" / "audit_key"

    @property
    def alerts_file(self) -> Path | None:
        """Over which channels alerts are told; None: nobody is."""
        mine = self.home / "alerts.yaml"
        return self.alerts or (mine if mine.exists() else None)

    @property
    def inbox_folder(self) -> Path:
        """Of the files of this machine, jobs that are ordered over HTTP read those below it."""
        return self.inbox or self.home / "inbox"

    @property
    def orders(self) -> Path:
        """Jobs that were ordered over HTTP, a folder each: what was asked, uploaded, and came out."""
        return self.home / "jobs"

    @property
    def outputs(self) -> Path:
        """Outputs of batch jobs on their way elsewhere."""
        return self.home / "outputs"

    @property
    def running(self) -> Path:
        """What `forewarn up` started: process ids, ports, addresses."""
        return self.home / "running.json"

    def make_home(self) -> Path:
        """Make the folder, for its owner alone: what models learned about people is in it."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.home
