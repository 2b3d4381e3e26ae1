"""Tells a story as it happens: on the terminal, and at its end as a page that needs nothing else."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from rich.markup import escape
from rich.rule import Rule

from jobs import pages, terminal

PICTURE = re.compile(r'src="data:image/png;base64,([^"]+)"')


@dataclass
class Chapter:
    """What happened, in sentences; a picture of it, base64; and how long it took."""

    title: str
    says: list[str] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Narrator:
    """Of one story."""

    def __init__(self, title: str):
        self.title = title
        self.chapters: list[Chapter] = []
        self.began = monotonic()

    @contextmanager
    def chapter(self, title: str) -> Iterator[None]:
        """What is said within belongs to it."""
        terminal.console.print(Rule(f"[bold cyan]{len(self.chapters) + 1}. {escape(title)}", align="left"))
        chapter, began = Chapter(title), monotonic()
        self.chapters.append(chapter)
        yield
        chapter.seconds = monotonic() - began

    def say(self, text: str, *, loud: bool = False) -> None:
        """A sentence; a loud one is what the chapter is about."""
        self.chapters[-1].says.append(text)
        terminal.console.print(f"   [bold yellow]{escape(text)}[/]" if loud else f"   {escape(text)}", soft_wrap=True)

    def show(self, page: Path) -> None:
        """The picture of a report's page."""
        self.chapters[-1].pictures += PICTURE.findall(page.read_text())[:1]

    def write(self, folder: Path) -> Path:
        """The page."""
        told = {
            "title": self.title,
            "seconds": round(monotonic() - self.began),
            "chapters": [vars(chapter) for chapter in self.chapters],
        }
        return pages.write("demo.html.jinja", told, folder / "demo")[0]
