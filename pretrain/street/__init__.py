"""A procedural street: fixed cameras that watch drawn people, written as real H.264 video with the truth beside it."""

from pretrain.street.config import StreetConfig
from pretrain.street.retrieval import write_retrieval
from pretrain.street.write import write_labelled, write_street

__all__ = ["StreetConfig", "write_labelled", "write_retrieval", "write_street"]
