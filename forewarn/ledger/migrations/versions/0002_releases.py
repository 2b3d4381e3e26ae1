"""The history of releases, shadows and fallbacks."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two tables, two columns, one counter."""
    op.create_table(
        "releases",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("use_case", sa.String(length=128), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("act", sa.String(length=32), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("from_version", sa.String(length=128), nullable=True),
        sa.Column("to_version", sa.String(length=128), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("releases_in_time", "releases", ["use_case", "number"], unique=False)
    op.create_table(
        "nightly",
        sa.Column("use_case", sa.String(length=128), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=128), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("scored_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("use_case", "subject"),
    )
    op.add_column("predictions", sa.Column("shadow_of", sa.String(length=32), nullable=True))
    op.add_column("predictions", sa.Column("instead_of", sa.String(length=128), nullable=True))
    op.create_index("predictions_beside", "predictions", ["shadow_of"], unique=False)
    counters = sa.table("counters", sa.column("name", sa.String), sa.column("number", sa.BigInteger))
    op.bulk_insert(counters, [{"name": "released", "number": 0}])


def downgrade() -> None:
    """Back to the first."""
    op.execute("DELETE FROM counters WHERE name = 'released'")
    op.drop_index("predictions_beside", table_name="predictions")
    op.drop_column("predictions", "instead_of")
    op.drop_column("predictions", "shadow_of")
    op.drop_table("nightly")
    op.drop_table("releases")
