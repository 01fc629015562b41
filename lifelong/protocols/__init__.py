"""Continual re-identification benchmarks: what is learned in which order, what is tested, how runs compare."""
