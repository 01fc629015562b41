"""One training core: the step, the loop, the record, the checkpoints; on Ray Train and in one process."""
