"""What went wrong, and whose it is to mend: the user's input, or a bug of ours."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that cannot be used: a file, a folder, an option, data. Its message shows the value and the remedy.

    >>> import cluster, pretrain
    >>> try:
    ...     pretrain.find_recipe("isr-tinny")
    ... except cluster.InputError as error:
    ...     print(str(error)[:52])
    unknown recipe 'isr-tinny'; perhaps you meant isr-ti

    A command that ends with one prints that line alone, with exit code 2. Any other exception, also a `ValueError` of
    NumPy or torch, is a bug: it keeps its traceback, with exit code 1.
    """


class DivergedError(FloatingPointError, InputError):
    """A training whose numbers are not finite any more: its settings cannot work."""


class Refusal(Exception):  # noqa: N818 - it is none
    """Nothing is wrong, and the answer is no: a model that must not be released. One line, exit code 3.

    >>> import cluster
    >>> issubclass(cluster.Refusal, ValueError)
    False
    """


def suggestion(name: str, among: Iterable[str], *, prefix: str = "") -> str:
    """Return ``"; perhaps you meant NEAR"`` for the name that is nearest to a mistyped one; empty if none is near."""
    near = difflib.get_close_matches(name, list(among), 1)
    return f"; perhaps you meant {prefix}{near[0]}" if near else ""
