"""What every other package stands on: storage, the terminal, the Ray session, and whether a plan fits the cluster."""
