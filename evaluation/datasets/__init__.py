"""Benchmarks on disk as rows: which image shows whom, from which camera, when, in which part of the benchmark."""
