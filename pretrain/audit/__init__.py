"""Mined pairs against true identities."""
