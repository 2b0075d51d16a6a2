"""Looking at a store: similarity search, quality, lineage, summary, contact sheet; nothing here changes it."""
