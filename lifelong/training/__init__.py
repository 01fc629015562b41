"""How one stage learns: the network with its heads, the terms of the loss, the step, the samples."""
