"""What training computes, step by step, as it was recorded: a change of these numbers needs a reason."""
