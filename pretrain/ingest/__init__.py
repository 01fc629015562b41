"""From videos, or crops that somebody already has, to clips: the input of pretraining."""
