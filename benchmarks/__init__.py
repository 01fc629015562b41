"""What is claimed of speed and of learning, measured; `benchmarks/README.md` has all tables."""
