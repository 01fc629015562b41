"""What processes tell each other in a step, and batch norm over all of them."""
