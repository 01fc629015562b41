"""What compares two images: features, or feature maps location by location."""
