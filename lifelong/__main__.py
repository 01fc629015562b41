"""Command line of lifelong stages: ``python -m lifelong COMMAND --help``."""

import sys

from cluster.console import Command, run_cli

OF, OF_GALLERY, OF_PROTOCOLS = "lifelong.commands", "lifelong.gallery.commands", "lifelong.protocols.commands"
RECIPES = "lifelong.recipes:RECIPES"
GALLERY = {
    "create": Command(f"{OF_GALLERY}:create", "Begin a gallery."),
    "declare": Command(
        f"{OF_GALLERY}:declare",
        "Declare a model compatible with what is stored, normally after `python -m lifelong promote`.",
    ),
    "add": Command(
        f"{OF_GALLERY}:add",
        "Add the features of a file; the same rows are stored once, however often the command runs.",
    ),
    "search": Command(f"{OF_GALLERY}:search", "Find the most similar images for the queries of a features file."),
    "delete": Command(f"{OF_GALLERY}:delete", "Take a person out of all searches, at once; compact removes the bytes."),
    "compact": Command(
        f"{OF_GALLERY}:compact", "Remove the bytes of deleted people, and what interrupted commands have left."
    ),
    "verify": Command(f"{OF_GALLERY}:verify", "Check every byte of a gallery against its manifest."),
    "stats": Command(f"{OF_GALLERY}:stats", "Count what is in a gallery."),
}
BENCHMARK = {
    "intra": Command(
        f"{OF_PROTOCOLS}:intra",
        "Learn one dataset in tasks of new identities, and score every task's model on the whole test set.",
        recipes=RECIPES,
    ),
    "inter": Command(
        f"{OF_PROTOCOLS}:inter",
        "Learn one domain after the other, and score every task's model on all domains so far and on unseen ones.",
        recipes=RECIPES,
    ),
    "compare": Command(
        f"{OF_PROTOCOLS}:compare",
        "Print one table of finished runs of one benchmark; runs of one recipe and settings are seeds of it.",
    ),
}
COMMANDS = {
    "plan": Command(f"{OF}.plan:plan", "Print what a run would do, and train nothing.", recipes=RECIPES),
    "run": Command(
        f"{OF}.run:run",
        "Run the stages on Ray Train, or resume them. The same command again goes on where it was.",
        recipes=RECIPES,
    ),
    "results": Command(f"{OF}.results:results", "Score the finished stages of a run again, and print the tables."),
    "promote": Command(
        f"{OF}.promote:promote",
        "Judge whether the model of a stage may be released: its queries work against the old galleries, and it "
        "remembers.",
    ),
    "gallery": Command(
        GALLERY, "Keep features for years: create, declare, add, search, delete, compact, verify, stats."
    ),
    "benchmark": Command(BENCHMARK, "Continual re-identification as papers measure it: intra, inter, compare."),
    "sweep": Command(
        f"{OF}.sweep:sweep",
        "Try settings on Ray Tune: each trial runs all stages in one process and is scored without re-extraction.",
        recipes=RECIPES,
        prepare="cluster.sweep.search_space:with_spaces",
    ),
}

if __name__ == "__main__":
    run_cli("python -m lifelong", COMMANDS, sys.argv[1:])
