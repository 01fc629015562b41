"""What a run is: frozen values, made by a recipe, printed once, saved with every checkpoint."""
