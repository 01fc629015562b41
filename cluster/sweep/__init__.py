"""Sweeps: what is tried, how it runs on Ray Tune, what is kept of each trial, and what was found."""
