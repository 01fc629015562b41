"""Is it learning? Held-out partners without labels, and mined pairs against true identities."""
