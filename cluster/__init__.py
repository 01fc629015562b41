"""What every other package stands on: storage, the terminal, the Ray session, and whether a plan fits the cluster."""

PROJECT = "perennial-reid"
"""Whose package this is: the package index has another `cluster`, see `pretrain`."""
__version__ = "0.2.0"
"""Of all four packages; pyproject.toml reads it here, so that a checkout that was never installed knows it too."""
