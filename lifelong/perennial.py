"""The console command ``perennial``: the commands of three packages under one name."""

import sys

from cluster.console import Command, run_cli

COMMANDS = {
    "pretrain": Command("pretrain.__main__:COMMANDS", "From raw video to an encoder: prepare, train, export, demo."),
    "evaluation": Command("evaluation.__main__:COMMANDS", "From a model to its scores: embed, score, compare, report."),
    "lifelong": Command("lifelong.__main__:COMMANDS", "From one model to the next: plan, run, promote, gallery."),
}


def main() -> None:
    """Run the command that the process was called with."""
    run_cli("perennial", COMMANDS, sys.argv[1:])
