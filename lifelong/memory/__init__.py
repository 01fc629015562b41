"""What is kept of every stage: which images, and the file that holds them for ever."""
