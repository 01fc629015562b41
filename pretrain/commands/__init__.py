"""Commands of ``python -m pretrain``, a module each: what one needs is loaded when it is called."""
