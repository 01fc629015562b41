"""From features files to scores: queries and gallery, ranking, comparison."""
