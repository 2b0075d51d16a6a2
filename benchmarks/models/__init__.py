"""A fitted head as a folder, and its predictions for new images."""
