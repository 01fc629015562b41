"""Judges a model by its features: datasets, embedding, retrieval scores, and the report that shows them."""
