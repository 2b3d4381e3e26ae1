"""The ledger as it began."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Every table, and the two counters at their beginning."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(length=256), nullable=False),
        sa.Column("per_minute", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("expires_at", sa.String(length=27), nullable=True),
        sa.Column("revoked_at", sa.String(length=27), nullable=True),
        sa.Column("last_used_at", sa.String(length=27), nullable=True),
        sa.Column("rotated_to", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("act", sa.String(length=64), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("subject_key", sa.String(length=32), nullable=True),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_table(
        "batches",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("use_case", sa.String(length=128), nullable=False),
        sa.Column("version", sa.String(length=128), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("scored", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("opted_out", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("batches_in_time", "batches", ["use_case", "at"], unique=False)
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("use_case", sa.String(length=128), nullable=False),
        sa.Column("prediction_id", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(length=256), nullable=False),
        sa.Column("overrides", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("person", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("decisions_in_time", "decisions", ["use_case", "at"], unique=False)
    op.create_index("decisions_of_prediction", "decisions", ["prediction_id"], unique=False)
    op.create_table(
        "erasures",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("use_case", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("receipt", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("erasures_of_subject", "erasures", ["subject", "use_case"], unique=False)
    op.create_table(
        "opt_outs",
        sa.Column("use_case", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("since", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("use_case", "subject"),
    )
    op.create_table(
        "outcomes",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("use_case", sa.String(length=128), nullable=False),
        sa.Column("prediction_id", sa.String(length=32), nullable=True),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("label", sa.Double(), nullable=True),
        sa.Column("seen_at", sa.String(length=27), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("outcomes_of_prediction", "outcomes", ["prediction_id"], unique=False)
    op.create_index("outcomes_of_subject", "outcomes", ["subject", "use_case", "seen_at"], unique=False)
    op.create_table(
        "predictions",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("use_case", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("fields", sa.Text(), nullable=True),
        sa.Column("sealed", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(length=32), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("event", sa.Boolean(), nullable=True),
        sa.Column("level", sa.String(length=32), nullable=True),
        sa.Column("version", sa.String(length=128), nullable=False),
        sa.Column("route", sa.String(length=32), nullable=False),
        sa.Column("latency_ms", sa.Double(), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("erased_at", sa.String(length=27), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("predictions_in_time", "predictions", ["use_case", "at"], unique=False)
    op.create_index("predictions_of_subject", "predictions", ["subject", "use_case", "at"], unique=False)
    op.create_table(
        "subject_keys",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("use_case", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("secret", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("subject_keys_of_subject", "subject_keys", ["subject", "use_case"], unique=True)
    counters = sa.table("counters", sa.column("name"), sa.column("number"))
    op.bulk_insert(counters, [{"name": "audited", "number": 0}, {"name": "changed", "number": 0}])


def downgrade() -> None:
    """And back: everything is lost."""
    op.drop_index("subject_keys_of_subject", table_name="subject_keys")
    op.drop_table("subject_keys")
    op.drop_index("predictions_of_subject", table_name="predictions")
    op.drop_index("predictions_in_time", table_name="predictions")
    op.drop_table("predictions")
    op.drop_index("outcomes_of_subject", table_name="outcomes")
    op.drop_index("outcomes_of_prediction", table_name="outcomes")
    op.drop_table("outcomes")
    op.drop_table("opt_outs")
    op.drop_index("erasures_of_subject", table_name="erasures")
    op.drop_table("erasures")
    op.drop_index("decisions_of_prediction", table_name="decisions")
    op.drop_index("decisions_in_time", table_name="decisions")
    op.drop_table("decisions")
    op.drop_table("counters")
    op.drop_index("batches_in_time", table_name="batches")
    op.drop_table("batches")
    op.drop_table("audit")
    op.drop_table("api_keys")
