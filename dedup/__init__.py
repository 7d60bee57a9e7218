"""Near-duplicate detector and the overlap of training data with evaluation sets (paper, section 5)."""
