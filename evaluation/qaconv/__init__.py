"""Query-adaptive convolution: feature maps, their matching location by location, and its explanation."""
