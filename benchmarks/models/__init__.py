"""A fitted head as a folder, and its answers about new images."""
