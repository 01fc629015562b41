"""A run: one stage after the other, what each leaves behind, and what is measured of all of them."""
