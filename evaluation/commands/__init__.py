"""Commands of ``python -m evaluation``, a module each: what one needs is loaded when it is called."""
