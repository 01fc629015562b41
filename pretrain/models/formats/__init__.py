"""A model in formats that other people's code loads."""
