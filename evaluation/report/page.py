"""One HTML file that shows what was found: opens from disk, needs no network, can be mailed.

A report is a header, tiles with the numbers that matter, and sections. Sections are values; the template
``templates/report.html.j2`` draws them. All text is escaped, and all images travel inside the file.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import ClassVar

import jinja2
import numpy as np
from numpy.typing import NDArray

from cluster import storage
from cluster.errors import InputError
from evaluation.datasets.images import encode_jpeg

CROP_HEIGHT_PIXELS = 192
"""Crops are shrunk to this: twice what is shown, for sharp screens, and still a few kilobytes each."""

PICTURE_HEIGHT_PIXELS = 384
"""Pictures with something drawn into them are shrunk to this only."""

Image = NDArray[np.uint8]
"""RGB, [H, W, 3]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A number that a reader should see first."""

    label: str
    """What it is, such as ``ISR, mAP``."""
    value: str
    """The number, formatted, such as ``41.3 %``."""
    detail: str = ""
    """What to compare it with, such as ``random weights: 9.0 %``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Text:
    """Paragraphs."""

    kind: ClassVar[str] = "text"
    heading: str
    paragraphs: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table of formatted cells; the first column names the row, the others are set like numbers.

    What follows a number in a cell, ``± 0.9`` or ``(39.8 - 42.9)``, is set smaller and below it.
    """

    kind: ClassVar[str] = "table"
    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    highlight_row: int | None = None
    """The row that the report is about."""

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise InputError(
                    f"table {self.heading!r}: row {number} has {len(row)} cells for {len(self.columns)} columns"
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A chart."""

    kind: ClassVar[str] = "figure"
    heading: str
    image: str | bytes
    """SVG text, or the bytes of a PNG."""
    caption: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two crops that belong together, or that something took for that."""

    left: Image
    right: Image
    caption: str = ""
    """Such as ``reliability 0.93``."""
    is_right: bool | None = None
    """Whether they show one person; None if nobody knows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageGrid:
    """Pairs of crops in a grid."""

    kind: ClassVar[str] = "grid"
    heading: str
    pairs: tuple[Pair, ...]
    caption: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """What one method found for a query, nearest first."""

    method: str
    gallery: tuple[Image, ...]
    is_right: tuple[bool, ...]

    def __post_init__(self) -> None:
        if len(self.gallery) != len(self.is_right):
            raise InputError(f"{self.method}: {len(self.gallery)} images and {len(self.is_right)} marks; give as many")


@dataclass(frozen=True, kw_only=True, slots=True)
class RankedQuery:
    """A query image with the rankings of one or several methods, one below the other."""

    query: Image
    rankings: tuple[Ranking, ...]
    caption: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankLists:
    """Queries with what was found for them; right and wrong are marked by frame, sign and text."""

    kind: ClassVar[str] = "ranks"
    heading: str
    queries: tuple[RankedQuery, ...]
    caption: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A picture in which something has to be seen, such as `draw_matches` gives."""

    image: Image
    caption: str = ""
    is_right: bool | None = None
    """Whether what it shows is right; None if nobody knows, or nothing is claimed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pictures:
    """Pictures, each as wide as a phone."""

    kind: ClassVar[str] = "pictures"
    heading: str
    pictures: tuple[Picture, ...]
    caption: str = ""


Section = Text | Table | Figure | ImageGrid | RankLists | Pictures


def percent(fraction: float) -> str:
    """Format a fraction of 1 as percent with one decimal, and a space that does not break."""
    return f"{100 * fraction:.1f}\N{NO-BREAK SPACE}%"


def write_report(
    location: str, title: str, subtitle: str, sections: Sequence[Section], *, tiles: Sequence[Tile] = ()
) -> None:
    """Write a report as one HTML file.

    Args:
        location: The file, such as ``out/demo/report.html``.
        title: Heading of the page.
        subtitle: One or two sentences: what was done, with which data.
        sections: What the page shows, in order.
        tiles: The numbers that come first.
    """
    html = _template().render(title=title, subtitle=subtitle, sections=sections, tiles=tiles)
    storage.write_bytes(storage.resolve(location), html.encode())


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["jpeg"] = _jpeg_uri
    environment.filters["picture"] = _picture_uri
    environment.filters["chart"] = _chart_uri
    environment.filters["value_and_spread"] = _value_and_spread
    source = resources.files("evaluation.report") / "templates" / "report.html.j2"
    return environment.from_string(source.read_text(encoding="utf-8"))


def _jpeg_uri(image: Image) -> str:
    return _data_uri("image/jpeg", encode_jpeg(image, max_height=CROP_HEIGHT_PIXELS))


def _picture_uri(image: Image) -> str:
    return _data_uri("image/jpeg", encode_jpeg(image, max_height=PICTURE_HEIGHT_PIXELS, quality=92))


def _chart_uri(image: str | bytes) -> str:
    """Make a chart's address; an image of its own keeps one SVG's ids from meeting another's."""
    if isinstance(image, str):
        return _data_uri("image/svg+xml", image.encode())
    return _data_uri("image/png", image)


def _data_uri(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _value_and_spread(cell: str) -> tuple[str, str]:
    """Split ``41.3 % (39.8 - 42.9)`` or ``41.3 % ± 0.9`` into the number and how sure it is."""
    found = re.fullmatch(r"(.*\d.*?)\s+(\(.*\)|(?:±|\+/-).*)", cell)
    return (found[1], found[2]) if found else (cell, "")
