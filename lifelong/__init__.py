"""Backward-compatible lifelong stages: each new model's queries work against galleries that older models extracted."""
