"""Read-only views of a store: similarity search, quality, lineage, summary, contact sheet."""
