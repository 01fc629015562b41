"""``python -m pretrain train RECIPE``: pretrain an encoder."""

from typing import Annotated

from cluster import session, storage
from cluster.console import print_result
from cluster.options import Flat, take_option
from pretrain.config.run import PretrainConfig
from pretrain.runs import train as train_run
from pretrain.sweep import with_best


def train(*, clips: str, out: str, config: Annotated[PretrainConfig, Flat]) -> None:
    """Pretrain an encoder on clips. The same command again resumes.

    --settings best.json takes what a sweep found best; options beside it win.

    Args:
        clips: A clips directory that python -m pretrain prepare has made.
        out: The run directory: a folder or an s3:// URL.
        config: The run.
    """
    try:
        final = train_run(config, clips, out)
    finally:
        session.disconnect()
    print_result({"out": storage.resolve(out), **final})


def with_settings(config: PretrainConfig, argv: list[str]) -> tuple[PretrainConfig, list[str]]:
    """Let ``--settings`` change the defaults of the options beside it."""
    settings, rest = take_option("settings", argv)
    return (with_best(config, settings) if settings else config), rest
