"""What is claimed in the README, measured: speed as ratios in one run, learning as means over seeds."""
