"""Who is who between two frames: assignment, chains of boxes, and how far a match can be trusted."""
