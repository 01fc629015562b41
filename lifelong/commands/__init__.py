"""Commands of ``python -m lifelong``, a module each: what one needs is loaded when it is called."""
