"""Classifier heads, one a file; ``registry`` lists them. A head knows nothing of stores, splits or metrics."""
