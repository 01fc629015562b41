"""``python -m evaluation explain``: which places of two images match."""

from typing import Annotated

import tyro

from cluster.console import print_result
from evaluation.commands.models import embedder_factory
from evaluation.explain import ExplainConfig, explain_files


def explain(comparison: Annotated[ExplainConfig, tyro.conf.OmitArgPrefixes]) -> None:
    """Draw which locations of two images QAConv matches, and what each adds to their score.

    Args:
        comparison: How two images are compared, and what is shown of it.
    """
    print_result(explain_files(comparison, embedder_factory(comparison.model)))
