"""Purge and archive what the use cases' policies say; to be run every night.

    forewarn retention --dry-run
    ray job submit -- python -m jobs.retention

It may run twice, and be cut short. Prints one JSON line; exits 0 when done, 1 with one sentence if it cannot be.
"""

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer

from forewarn import usecases
from forewarn.ledger import retention as policy
from forewarn.ledger.audit import By, Chain
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings
from jobs import terminal

KEEP_ORDERS_SECONDS = 30 * 24 * 3600


def retention(
    use_case: Annotated[str, typer.Option(help="One use case; else all.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
) -> None:
    """Purge rows' contents, and archive lines, that were kept for as long as their use case says.

    Example: forewarn retention --dry-run
    """
    settings, now = Settings(), datetime.now(UTC)
    ledger, chain, by = Ledger.open(settings), Chain.of(settings), By(actor=settings.whoami)
    told = {}
    for case in usecases.get(use_case).profiles if use_case else usecases.every().values():
        with terminal.console.status(f"{case.name} …") as status:

            def tell(lines: int, name: str = case.name) -> None:
                status.update(f"{name}: {lines:,} lines archived …")

            done = (
                policy.due(ledger, case, now=now)
                if dry_run
                else policy.run(ledger, chain, settings, case, by, now=now, tell=tell)
            )
        told[case.name] = done
        would = "would be " if dry_run else ""
        said = f"{done['purged']:,} rows {would}purged, {done['archived']:,} lines {would}archived"
        terminal.console.print(f"[green]✓[/] {case.name}: {said}", soft_wrap=True)
    orders = [folder for folder in _orders(settings) if now.timestamp() - folder.stat().st_mtime > KEEP_ORDERS_SECONDS]
    for folder in orders if not dry_run else []:
        shutil.rmtree(folder, ignore_errors=True)
    print(orjson.dumps({"dry_run": dry_run, "use_cases": told, "jobs": len(orders)}).decode())


def _orders(settings: Settings) -> list[Path]:
    """What was ordered over HTTP: uploads, scores and rejects that lie in this home until somebody takes them away."""
    return [folder for folder in settings.orders.glob("*") if folder.is_dir()]


if __name__ == "__main__":
    terminal.command(retention)
