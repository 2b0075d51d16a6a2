"""Images become vectors: what is missing, batches, staging, publication; vectors that were computed elsewhere."""
