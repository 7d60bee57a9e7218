"""Reports: one self-contained HTML page each, plots inside it, every text from data escaped."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment

_PERCENTAGE = re.compile(r"[-+−<>]?\d[\d,]*(\.\d+)? ?%")
_DECIMAL = re.compile(r"-?[\d,]+(\.\d{1,4})?")
_PAGE = os.path.join(os.path.dirname(__file__), "report.html")


def counted(number: int, noun: str) -> str:
    """A number of things, such as `1 shard` or `1,200 shards`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)


def _column(cells: Sequence[Any]) -> list[str]:
    """Texts of a column; where it holds measured numbers, all have as many decimals as the longest, so that they stand under each other."""
    texts = [_cell(cell) for cell in cells]
    measured = {text: cell for cell, text in zip(cells, texts) if isinstance(cell, float)}
    places = max((len(text.partition(".")[2]) for text in measured), default=0)
    if not all(map(_DECIMAL.fullmatch, measured)) or (places > 2 and any(abs(cell) >= 10 for cell in measured.values())):
        return texts  # of too many magnitudes, or with exponents: zeros would only pretend to be known
    return [f"{cell:,.{places}f}" if isinstance(cell, float) else text for cell, text in zip(cells, texts)]


def _kind(cells: Sequence[Any]) -> str:
    """How the page sets a column: `number`; `prose`, kept wide on a narrow screen; `words`, never broken inside; `any`, such as URLs."""
    if cells and all(cell is None or isinstance(cell, (int, float)) or _PERCENTAGE.fullmatch(str(cell)) for cell in cells):
        return "number"
    texts = [_cell(cell) for cell in cells]
    if any(len(text) > 60 for text in texts):
        return "prose"
    return "words" if all(len(word) <= 22 for text in texts for word in text.split()) else "any"


@dataclass
class Section:
    """A heading with a note, then plots, bars, tables and images in that order."""

    heading: str
    note: str = ""
    plots: list[dict[str, str]] = field(default_factory=list)
    bars: list[dict[str, Any]] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)
    images: list[dict[str, str]] = field(default_factory=list)

    def plot(self, draw: Callable[[Any], None], *, alt: str, width: float = 8, height: float = 3.6) -> None:
        """Add a plot: `draw` gets a Matplotlib Figure of the given size in inches. `alt` says what it shows."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
        self.plots.append({"alt": alt, "data": base64.b64encode(buffer.getvalue()).decode()})

    def bar_chart(self, caption: str, labels: Sequence[str], numbers: Sequence[float]) -> None:
        """Add horizontal bars with their numbers, drawn by the browser: Matplotlib takes half a second to load."""
        most = max(numbers, default=0) or 1
        rows = [{"label": label, "number": _cell(number), "percent": 100 * number / most} for label, number in zip(labels, numbers)]
        self.bars.append({"caption": caption, "rows": rows})

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table. Columns of numbers and of percentages are set flush right."""
        kinds = [_kind([row[i] for row in rows]) for i in range(len(columns))]
        cells = [_column([row[i] for row in rows]) for i in range(len(columns))]
        self.tables.append({"columns": list(columns), "rows": list(zip(*cells)), "kinds": kinds})

    def image(self, data: bytes, caption: str, media_type: str = "image/jpeg") -> None:
        """Add a picture to the gallery, from bytes that we encoded ourselves."""
        self.images.append({"data": base64.b64encode(data).decode(), "caption": caption, "type": media_type})


def render(title: str, sections: Sequence[Section], lead: str = "") -> bytes:
    """The page in UTF-8. It needs no network, and its content security policy forbids one."""
    with open(_PAGE, encoding="utf-8") as stream:
        template = Environment(autoescape=True, trim_blocks=True).from_string(stream.read())
    return template.render(title=title, lead=lead, sections=sections).encode("utf-8", "replace")
