"""The network of a stage."""
