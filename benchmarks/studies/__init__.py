"""What is learned, as means over seeds."""
