"""The study's collection: its metadata file, the drawn sample, fetching the real one."""
