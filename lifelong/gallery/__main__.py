"""``python -m lifelong.gallery``: the commands of ``python -m lifelong gallery``, without loading what trains."""

import sys

from cluster.console import run_cli
from lifelong.gallery.commands import COMMANDS

if __name__ == "__main__":
    run_cli("python -m lifelong.gallery", COMMANDS, sys.argv[1:])
