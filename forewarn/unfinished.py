"""Parts of an output that is not whole yet, in their folder: which are as they were written; how to change them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pyarrow as pa

from forewarn.growing import Growing, digest
from forewarn.manifest import HELD, NAME, Manifest, Part, joined

SCORES, REJECTS = "scores", "rejects"


def sound(files: Mapping[str, Growing], parts: list[Part]) -> list[Part]:
    """Those whose bytes are what they were, up to the first that are not; what comes after them is cut off."""
    found: list[Part] = []
    for part in parts:
        before = found[-1].ends if found else dict.fromkeys(files, 0)
        if any(not _is_sound(file, before[name], part.ends[name], part.sha256[name]) for name, file in files.items()):
            break
        found.append(part)
    for name, file in files.items():
        file.cut(found[-1].ends[name] if found else 0)
    return found


def _is_sound(file: Growing, start: int, end: int, sha256: str) -> bool:
    return file.size >= end and digest(file.path, start, end) == sha256


def changed(files: Mapping[str, Growing], parts: list[Part], change: Callable[[], int]) -> tuple[list[Part], int]:
    """Let somebody change the files as if they were whole. How much they changed; if anything, all parts are one.

    A crash meanwhile leaves parts that are not sound.
    """
    files[SCORES].finish([part.ends[SCORES] for part in parts])
    count = change()
    if not count:
        files[SCORES].cut(parts[-1].ends[SCORES])
        return parts, 0
    ends = {name: file.look() for name, file in files.items()}
    sha256 = {name: digest(file.path, 0, file.size) for name, file in files.items()}
    return [replace(joined(parts), ends=ends, sha256=sha256)], count


def forget(folder: Path, change: Callable[[Path], bool]) -> Literal["", "rewritten", "dropped"]:
    """Take somebody's rows out of parts that nobody is writing. If these are not sound they go: a run that goes on
    begins with the first row, and with the time of its order.
    """
    manifest = Manifest(folder / NAME)
    head, parts = manifest.read()
    held = {file.stem: Growing(file, pa.schema([])) for file in folder.iterdir() if file.suffix in HELD}
    there = sound(held, parts) if held.keys() == {SCORES, REJECTS} else []
    if not there:
        return "dropped" if _emptied(folder) else ""
    try:
        left, count = changed(held, there, lambda: int(change(held[SCORES].path)))
    except Exception:
        _emptied(folder)
        raise
    manifest.replace(head, left)
    return "rewritten" if count else ""


def _emptied(folder: Path) -> bool:
    """Whether there was anything."""
    held = [file for file in folder.iterdir() if file.suffix in HELD]
    for file in held:
        file.unlink()
    return bool(held)
