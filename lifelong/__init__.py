"""Backward-compatible lifelong stages: each new model's queries work against galleries that older models extracted.

Nothing is built here yet. It will stand on `pretrain`, and on nothing above it.
"""
