"""``python -m pretrain street``: draw a street."""

from typing import Annotated

from cluster import storage
from cluster.console import print_result, progress_bar
from cluster.options import Flat
from pretrain.street.config import StreetConfig
from pretrain.street.write import write_labelled, write_street


def street(
    *,
    out: str,
    labelled_only: bool = False,
    processes: int = 1,
    config: Annotated[StreetConfig, Flat] = StreetConfig(),  # noqa: B008 - frozen
) -> None:
    """Draw a street: videos of walking people with truth, and labelled splits of other people.

    Args:
        out: Where it goes: a folder, replaced if it is there, or an s3:// URL.
        labelled_only: Draw the labelled splits alone, without videos and truth.
        processes: Cameras drawn at the same time; the result is the same.
        config: The street.
    """
    out = storage.resolve(out)
    write = write_labelled if labelled_only else write_street
    with progress_bar() as bar:
        task = bar.add_task("drawing", total=None, note="")
        counts = write(
            config,
            out,
            processes=processes,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    print_result({"out": out, **counts})
