"""Command line of benchmarks: ``python -m evaluation.datasets COMMAND --help``."""

import sys

from cluster.console import Command, run_cli

OF = "evaluation.datasets.commands"
COMMANDS = {
    "list": Command(f"{OF}:list_benchmarks", "List the benchmarks that can be read, by name."),
    "unpack-cuhk03": Command(
        f"{OF}:unpack", "Unpack CUHK03's MATLAB file into images, for the cuhk03-classic datasets."
    ),
    "crop-tracks": Command(
        f"{OF}:crop", "Cut tracked people out of a video with true boxes: a benchmark within one camera."
    ),
}

if __name__ == "__main__":
    run_cli("python -m evaluation.datasets", COMMANDS, sys.argv[1:])
