"""One HTML file that shows what was found."""
