"""Small state files: written whole or not at all, for their owner alone; a torn one is told in a sentence."""

import json
import os
from pathlib import Path
from typing import Any

from forewarn.errors import StateDamaged


def write(path: Path, text: str) -> None:
    """Put the text beside the file, then over it by one rename; mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    aside.replace(path)


def write_json(path: Path, value: Any) -> None:
    """The same, for a JSON value."""
    write(path, json.dumps(value, indent=1))


def read_json(path: Path) -> dict[str, Any]:
    """The object in the file; an empty one if there is no file.

    Raises:
        StateDamaged: the file does not hold a JSON object.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StateDamaged(
            f"{path}: cannot be read, it may be torn; restore it from a backup, or delete it to begin anew"
        )
    return found
