"""Pretraining on raw video: ingestion into clips, instance association, the reliability-guided loss, training."""
