"""Who meets whom in a step, and what is replayed."""
