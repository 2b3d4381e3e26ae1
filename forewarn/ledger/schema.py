"""The ledger's tables. Times are text of one width in UTC (`databases.written`), so that their order is time's.

A subject is its pseudonym (`ids.IdKey`); raw ids, protected and sensitive values stand in no column: what the model saw
of the latter is in `sealed`, readable with the installation's secret only.
"""

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, MetaData, String, Table, Text

ID, PSEUDONYM, NAME, TIME = String(32), String(64), String(128), String(27)

METADATA = MetaData()
# The newest migration.
REVISION = "0003"

# One line for each answered row. `fields`, `sealed`, `subject` and `score` are null once purged or erased; the rest of
# the line stays, so that the count of what was answered stays true. A line with `shadow_of` was heard by nobody: it is
# what another version says of the row of that line. `instead_of` is the version that could not answer.
PREDICTIONS = Table(
    "predictions",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("use_case", NAME, nullable=False),
    Column("subject", PSEUDONYM),
    Column("fields", Text),
    Column("sealed", Text),
    Column("digest", ID),
    Column("score", Double),
    Column("event", Boolean),
    Column("level", String(32)),
    Column("version", NAME, nullable=False),
    Column("route", String(32), nullable=False),
    Column("latency_ms", Double, nullable=False),
    Column("key_id", ID, nullable=False),
    Column("at", TIME, nullable=False),
    Column("erased_at", TIME),
    Column("shadow_of", ID),
    Column("instead_of", NAME),
    Index("predictions_of_subject", "subject", "use_case", "at"),
    Index("predictions_in_time", "use_case", "at"),
    Index("predictions_beside", "shadow_of"),
)

# What came true. A correction is a further line; the one received last counts. By prediction, or by subject and date.
OUTCOMES = Table(
    "outcomes",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("use_case", NAME, nullable=False),
    Column("prediction_id", ID),
    Column("subject", PSEUDONYM),
    Column("label", Double),
    Column("seen_at", TIME, nullable=False),
    Column("received_at", TIME, nullable=False),
    Column("key_id", ID, nullable=False),
    Index("outcomes_of_prediction", "prediction_id"),
    Index("outcomes_of_subject", "subject", "use_case", "seen_at"),
)

# What a person did about a prediction, and why (S1-39). `reason` is null once its subject was erased.
DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("use_case", NAME, nullable=False),
    Column("prediction_id", ID, nullable=False),
    Column("subject", PSEUDONYM),
    Column("action", String(256), nullable=False),
    Column("overrides", Boolean, nullable=False),
    Column("reason", Text),
    Column("person", NAME, nullable=False),
    Column("key_id", ID, nullable=False),
    Column("at", TIME, nullable=False),
    Index("decisions_of_prediction", "prediction_id"),
    Index("decisions_in_time", "use_case", "at"),
)

# Who wants neither to be scored nor logged.
OPT_OUTS = Table(
    "opt_outs",
    METADATA,
    Column("use_case", NAME, primary_key=True),
    Column("subject", PSEUDONYM, primary_key=True),
    Column("since", TIME, nullable=False),
)

# Tombstones: what of this subject is older than `at` is never to be written again.
ERASURES = Table(
    "erasures",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("use_case", NAME, nullable=False),
    Column("subject", PSEUDONYM, nullable=False),
    Column("at", TIME, nullable=False),
    Column("receipt", Text, nullable=False),
    Index("erasures_of_subject", "subject", "use_case"),
)

# Files that batch jobs wrote: an erasure goes through them too.
BATCHES = Table(
    "batches",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("use_case", NAME, nullable=False),
    Column("version", NAME, nullable=False),
    Column("path", Text, nullable=False),
    Column("scored", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("opted_out", Integer, nullable=False),
    Column("at", TIME, nullable=False),
    Index("batches_in_time", "use_case", "at"),
)

# The audit log, append-only: each line's `hash` covers the line and the hash before it. What it says of a person is in
# `sealed`, under that person's key in SUBJECT_KEYS; without the key it says nothing, and the chain still holds.
AUDIT = Table(
    "audit",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", TIME, nullable=False),
    Column("actor", NAME, nullable=False),
    Column("key_id", ID, nullable=False),
    Column("act", String(64), nullable=False),
    Column("about", Text, nullable=False),
    Column("subject_key", ID),
    Column("sealed", Text),
    Column("hash", PSEUDONYM, nullable=False),
)

SUBJECT_KEYS = Table(
    "subject_keys",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("use_case", NAME, nullable=False),
    Column("subject", PSEUDONYM, nullable=False),
    Column("secret", PSEUDONYM, nullable=False),
    Index("subject_keys_of_subject", "subject", "use_case", unique=True),
)

# SHA-256 of 256 random bits: nothing to guess. `scopes` are words with a blank between them.
API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("name", NAME, nullable=False),
    Column("hash", PSEUDONYM, nullable=False, unique=True),
    Column("scopes", String(256), nullable=False),
    Column("per_minute", Integer),
    Column("created_at", TIME, nullable=False),
    Column("created_by", NAME, nullable=False),
    Column("expires_at", TIME),
    Column("revoked_at", TIME),
    Column("last_used_at", TIME),
    Column("rotated_to", ID),
)

# The history of releases, append-only: each line holds the whole state after it, so that the newest of a use case is
# its state now, and the newest before a time its state then. `from_version` was champion before it, `to_version` is
# what it is about. A verdict that changes nothing is a line too.
RELEASES = Table(
    "releases",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("use_case", NAME, nullable=False),
    Column("at", TIME, nullable=False),
    Column("actor", NAME, nullable=False),
    Column("key_id", ID, nullable=False),
    Column("act", String(32), nullable=False),
    Column("why", Text, nullable=False),
    Column("from_version", NAME),
    Column("to_version", NAME),
    Column("verdict", Text),
    Column("state", Text, nullable=False),
    Index("releases_in_time", "use_case", "number"),
)

# What the nightly run said of each subject: what is left to say where no version can answer (S1-06).
NIGHTLY = Table(
    "nightly",
    METADATA,
    Column("use_case", NAME, primary_key=True),
    Column("subject", PSEUDONYM, primary_key=True),
    Column("version", NAME, nullable=False),
    Column("score", Double, nullable=False),
    Column("scored_at", TIME, nullable=False),
)

# What somebody is to look at: one line for each use case and matter (`drift:MonthlyIncome`), which is opened, seen
# again, told over the channels, and resolved. No subject stands in it.
ALERTS = Table(
    "alerts",
    METADATA,
    Column("use_case", NAME, primary_key=True),
    Column("name", NAME, primary_key=True),
    Column("severity", String(32), nullable=False),
    Column("text", Text, nullable=False),
    Column("opened_at", TIME, nullable=False),
    Column("seen_at", TIME, nullable=False),
    Column("times", Integer, nullable=False),
    Column("told_at", TIME),
    Column("resolved_at", TIME),
)

# Who leads, of several that could, and until when unless he says so again.
LEASES = Table(
    "leases",
    METADATA,
    Column("name", NAME, primary_key=True),
    Column("holder", NAME, nullable=False),
    Column("until", TIME, nullable=False),
)

# The scheduler's runs: a line is written before a run begins, and its key lets nobody begin the same one. `cause` is
# schedule, missed, or hand.
RUNS = Table(
    "runs",
    METADATA,
    Column("name", NAME, primary_key=True),
    Column("due", TIME, primary_key=True),
    Column("cause", String(32), nullable=False),
    Column("holder", NAME, nullable=False),
    Column("began_at", TIME, nullable=False),
    Column("ended_at", TIME),
    Column("code", Integer),
    Column("said", Text),
)
PAUSES = Table(
    "pauses",
    METADATA,
    Column("name", NAME, primary_key=True),
    Column("at", TIME, nullable=False),
    Column("actor", NAME, nullable=False),
    Column("why", Text, nullable=False),
)

# Why a use case was trained anew, on how many rows of which kind, and what came of it.
RETRAININGS = Table(
    "retrainings",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("use_case", NAME, nullable=False),
    Column("began_at", TIME, nullable=False),
    Column("ended_at", TIME),
    Column("cause", String(32), nullable=False),
    Column("why", Text, nullable=False),
    Column("rows", Text),
    Column("version", NAME),
    Column("status", String(32), nullable=False),
    Index("retrainings_in_time", "use_case", "began_at"),
)

# Three numbers: of the newest audit line, of the newest line of releases, and of changes to what every replica must
# know (keys, opt-outs, erasures). To raise one takes the row's lock, on SQLite the file's, so that whoever raises it is
# alone.
COUNTERS = Table(
    "counters",
    METADATA,
    Column("name", String(32), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
AUDITED, RELEASED, CHANGED = "audited", "released", "changed"
