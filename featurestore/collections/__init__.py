"""Images and metadata become rows: scanning folders, limits on images, ingest."""
