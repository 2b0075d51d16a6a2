"""A store for image embeddings: cleaned metadata, several frozen backbones, one key, plain SQL."""
