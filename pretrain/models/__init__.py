"""Encoders, and how they travel."""
