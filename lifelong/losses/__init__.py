"""What a lifelong stage minimises."""
