"""The bench from Python: `compare`, the `Comparison` it returns, and predictions that were made elsewhere."""
