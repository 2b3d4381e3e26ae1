"""Run by Alembic, inside the transaction of `Ledger.prepare`."""

from alembic import context

from forewarn.ledger import schema

context.configure(
    connection=context.config.attributes["connection"], target_metadata=schema.METADATA, render_as_batch=True
)
context.run_migrations()
