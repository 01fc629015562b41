"""Images to features: what evaluation asks of a model, and a dataset embedded on Ray."""
