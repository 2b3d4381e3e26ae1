"""Reports: a page that needs nothing else, and the same as JSON."""

import io
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from jinja2 import Environment, FileSystemLoader, StrictUndefined

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
# Told apart by whoever sees red and green alike.
ONE, OTHER, GREY = "#b2182b", "#2166ac", "#969696"
DPI = 100


def write(template: str, told: dict[str, Any], base: Path, **further: Any) -> list[Path]:
    """`base`.html and `base`.json; the page may show more than the JSON holds, such as pictures.

    Raises:
        OSError: the folder cannot be written to.
    """
    base.parent.mkdir(parents=True, exist_ok=True)
    files = {base.with_name(f"{base.name}.html"): page(template, told, **further).encode(),
             base.with_name(f"{base.name}.json"): orjson.dumps(told)}  # fmt: skip
    for file, content in files.items():
        file.touch(mode=0o600)  # what is known of people's groups stands in it
        file.write_bytes(content)
    return list(files)


def page(template: str, told: dict[str, Any], **further: Any) -> str:
    """The page alone."""
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    return environment.get_template(template).render(r=told, **further)


def canvas(columns: int, rows: int, size: tuple[float, float]) -> tuple["Figure", Any]:
    """An empty picture of so many axes, in inches."""
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for axes in grid.flat:
        axes.spines[["top", "right"]].set_visible(False)
    return figure, grid


def png(figure: "Figure") -> str:
    """Base64, for a page; the picture is closed."""
    from matplotlib import pyplot as plt

    held = io.BytesIO()
    figure.savefig(held, dpi=DPI)
    plt.close(figure)
    return b64encode(held.getvalue()).decode()
