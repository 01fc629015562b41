"""Command line of evaluation: ``python -m evaluation COMMAND --help``."""

import sys

from cluster.console import Command, run_cli

OF = "evaluation.commands"
COMMANDS = {
    "embed": Command(f"{OF}.embed:embed", "Embed the images of a dataset and write a features file."),
    "score": Command(
        f"{OF}.score:score", "Score a features file: how well its queries find their identity in its gallery."
    ),
    "compare": Command(
        f"{OF}.compare:compare",
        "Say whether one features file is better than another of the same images: A - B, paired by query.",
    ),
    "compatibility": Command(
        f"{OF}.compatibility:compatibility",
        "Say before a release whether a new model's queries work against the gallery that the old model stored.",
    ),
    "report": Command(
        f"{OF}.report:report",
        "Write a one-file HTML report of features files of the same images: scores, curves, distances, rank lists.",
    ),
    "explain": Command(
        f"{OF}.explain:explain",
        "Draw which locations of two images QAConv matches, and what each adds to their score.",
    ),
    "datasets": Command("evaluation.datasets.__main__:COMMANDS", "Which benchmarks there are: list, unpack, crop."),
}

if __name__ == "__main__":
    run_cli("python -m evaluation", COMMANDS, sys.argv[1:])
