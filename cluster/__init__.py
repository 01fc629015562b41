"""What every other package stands on: storage, the terminal, the Ray session, and whether a plan fits the cluster.

`InputError` is input that cannot be used, `Refusal` an answer of no; `connect` and `disconnect` begin and end the use
of a Ray cluster.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cluster.errors import InputError as InputError
    from cluster.errors import Refusal as Refusal
    from cluster.session import connect as connect
    from cluster.session import disconnect as disconnect

PROJECT = "perennial-reid"
"""Whose package this is: the package index has another `cluster`."""
__version__ = "0.2.0"
"""Of all four packages; pyproject.toml reads it here, so that a checkout that was never installed knows it too."""
PUBLIC = {
    "InputError": "cluster.errors",
    "Refusal": "cluster.errors",
    "connect": "cluster.session",
    "disconnect": "cluster.session",
}
"""Where each public name is; it is loaded when it is used, so that to import this package takes no time."""
__all__ = ["InputError", "Refusal", "__version__", "connect", "disconnect"]


def lazily(package: str, public: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Make a package's ``__getattr__`` and ``__dir__`` (PEP 562), which load its public names when they are used.

    Args:
        package: Its name.
        public: The module of each name; ``module:own`` where it has another name there.
    """

    def load(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, own = public[name].partition(":")
        return getattr(importlib.import_module(module), own or name)

    return load, lambda: sorted({*vars(sys.modules[package]), *public})


__getattr__, __dir__ = lazily(__name__, PUBLIC)
