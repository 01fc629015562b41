"""Explain the score of two image files: what QAConv matched, as a picture, a table and numbers."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import cv2
import numpy as np
import tyro
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from cluster import storage
from cluster.console import console
from cluster.errors import InputError
from evaluation.datasets.images import read_image
from evaluation.embedding.embedder import Embedder, MapEmbedder
from evaluation.qaconv.explanation import Match, explain, mutual_matches
from evaluation.qaconv.head import QAConvHead, read_head
from evaluation.report.explanation_picture import draw_explanation


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainConfig:
    """Which images are compared, and what is shown of it."""

    query: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="QUERY")]
    """An image file."""
    gallery: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="GALLERY")]
    """The image file that it is compared with."""
    model: str
    """A model directory."""
    out: str = "explain.png"
    """The picture to write, a .png; replaced if it is there."""
    lines: int = 12
    """At most so many matches are drawn and listed, those that count most."""
    head: str = ""
    """File with a trained QAConv head; unless given, that of the model, or uniform weights where it has none."""

    def __post_init__(self) -> None:
        if self.lines < 1:
            raise InputError(f"--lines must be >= 1, got {self.lines}")
        if not self.out.lower().endswith(".png"):
            raise InputError(f"--out must be a .png file, got {self.out}")


def explain_files(config: ExplainConfig, make_embedder: Callable[[], Embedder]) -> dict[str, Any]:
    """Compare two image files by QAConv, write the picture and print the table.

    Args:
        config: Which.
        make_embedder: Builds the model; called once the rest of the input is known to be usable.

    Returns:
        The numbers, as JSON values; locations count rows and columns from 0 at the top left.

    Raises:
        InputError: If a file cannot be used, the model gives no maps, or the head does not fit them.
    """
    out = storage.resolve(config.out)
    if storage.is_folder(out):
        raise InputError(f"--out {out} is a folder; name a file in it, such as {storage.join(out, 'explain.png')}")
    files = [storage.resolve(location) for location in (config.query, config.gallery)]
    images = [read_image(location) for location in files]
    given = read_head(config.head) if config.head else None
    embedder = make_embedder()
    if not isinstance(embedder, MapEmbedder):
        raise InputError(f"{config.model} gives no feature maps to match; give a model directory")
    height, width, _ = embedder.map_shape
    head, source = _choose_head(given, config.head, embedder, height * width)
    _, (query_map, gallery_map) = embedder.embed_with_maps(images)
    found = explain(query_map, gallery_map, head)
    names = (storage.name_of(files[0]), storage.name_of(files[1]))
    shape = {"height": height, "width": width}
    picture = draw_explanation(images[0], images[1], found, **shape, names=names, head=source, num_lines=config.lines)
    storage.write_bytes(out, _encode_png(picture))
    matches = mutual_matches(found)
    listed = matches[: config.lines]
    console.print(_table(listed, width, f"{names[0]} and {names[1]}: score {found.score:.3f}, raw {found.raw:.4f}"))
    console.print("shares are of raw, or of the sum of all contributions' sizes where some are negative")
    console.print(f"weights: {source}; {len(listed)} of {len(matches)} mutual matches\nopen {out}", markup=False)
    return {
        "score": found.score,
        "similarity": found.similarity,
        "raw": found.raw,
        "weights": source,
        "model_fingerprint": embedder.fingerprint,
        "map": shape,
        "num_mutual": len(matches),
        "matches": [_as_json(match, width) for match in listed],
        "out": out,
    }


UNIFORM = "uniform, for the model has no trained head"


def _choose_head(
    given: QAConvHead | None, location: str, embedder: MapEmbedder, num_locations: int
) -> tuple[QAConvHead, str]:
    """Return the head and where it is from: the one that was given, the model's, or a uniform one."""
    head, source = (given, location) if given else (embedder.head, "the model's head")
    if head is None:
        return QAConvHead.uniform(num_locations), UNIFORM
    sizes = [len(weight) for weight in head.weights]
    if sizes != [num_locations, num_locations]:
        raise InputError(
            f"{source} weighs {' and '.join(map(str, sorted(set(sizes))))} locations, but the model's maps have "
            f"{num_locations}; give the head that was trained with this model, or leave --head out"
        )
    return head, source


def _encode_png(picture: NDArray[np.uint8]) -> bytes:
    encoded, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert encoded, "OpenCV encodes every uint8 [H, W, 3] image"
    return data.tobytes()


def _table(matches: list[Match], width: int, title: str) -> Table:
    shown = Table(title=Text(title), title_justify="left")
    for name in ("", "query row, column", "gallery row, column", "cosine", "weight", "share"):
        shown.add_column(name, justify="right")
    for rank, match in enumerate(matches, start=1):
        places = [divmod(location, width) for location in (match.query_location, match.gallery_location)]
        numbers = (f"{match.cosine:.3f}", f"{match.weight:.4f}", f"{match.share:.2%}")
        shown.add_row(str(rank), *(f"{row}, {column}" for row, column in places), *numbers)
    return shown


def _as_json(match: Match, width: int) -> dict[str, Any]:
    places = {name: divmod(getattr(match, f"{name}_location"), width) for name in ("query", "gallery")}
    numbers = {name: value for name, value in asdict(match).items() if not name.endswith("_location")}
    return {name: {"row": row, "column": column} for name, (row, column) in places.items()} | numbers
