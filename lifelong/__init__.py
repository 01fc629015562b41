"""Backward-compatible lifelong stages: each new model's queries work against galleries that older models extracted.

Only parts are here yet: the losses and the sampler of QAConv's training. It stands on `pretrain`, and on nothing above.
"""
