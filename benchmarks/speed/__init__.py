"""Speed and memory as ratios against baselines in the same run: make bench."""
