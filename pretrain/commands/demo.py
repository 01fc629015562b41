"""``python -m pretrain demo``: the whole chain; it alone of pretraining's commands knows of lifelong stages."""

from typing import Annotated

from cluster import session
from cluster.console import print_result
from cluster.options import Flat
from lifelong.demo.stages import run_stages
from pretrain.demo.chain import DemoConfig, run_demo


def demo(*, config: Annotated[DemoConfig, Flat] = DemoConfig()) -> None:  # noqa: B008 - frozen
    """Run the whole chain on a drawn street and write a report.

    Args:
        config: The demo.
    """
    try:
        summary = run_demo(config, run_stages)
    finally:
        session.disconnect()
    print_result(summary)
