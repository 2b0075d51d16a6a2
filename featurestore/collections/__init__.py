"""Turns images and metadata into rows of the store: scanning folders, checking images, ingest."""
