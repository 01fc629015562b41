"""Who finds people in a frame: one file each, and their table."""
