"""Command line of pretraining: ``python -m pretrain COMMAND --help``."""

import sys

from cluster.console import Command, run_cli

OF = "pretrain.commands"
RECIPES = "pretrain.recipes:RECIPES"
COMMANDS = {
    "demo": Command(f"{OF}.demo:demo", "Run the whole chain on a drawn street and write a report."),
    "street": Command(
        f"{OF}.street:street",
        "Draw a street: videos of walking people with truth, and labelled splits of other people.",
    ),
    "prepare": Command(f"{OF}.prepare:prepare", "Turn raw video, or crops that exist already, into clips."),
    "train": Command(
        f"{OF}.train:train",
        "Pretrain an encoder on clips. The same command again resumes.",
        recipes=RECIPES,
        prepare=f"{OF}.train:with_settings",
    ),
    "sweep": Command(
        f"{OF}.sweep:sweep",
        "Try settings on Ray Tune: each trial trains in one process and is judged on held-out clips.",
        recipes=RECIPES,
        prepare="cluster.sweep.search_space:with_spaces",
    ),
    "export": Command(
        f"{OF}.export:export",
        "Write a run's newest weights, or a model, as a model directory: model.safetensors, config.json, README.md.",
    ),
    "audit": Command(
        f"{OF}.audit:audit",
        "Measure mined pairs against true identities: precision, recall, and what the reliability is worth.",
    ),
}

if __name__ == "__main__":
    run_cli("python -m pretrain", COMMANDS, sys.argv[1:])
