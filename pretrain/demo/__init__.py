"""The whole chain on a drawn street, for people without data or a GPU."""
