"""The lifelong half of the demo: three domains come in one after the other."""
