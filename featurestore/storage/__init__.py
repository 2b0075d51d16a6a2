"""Storage: immutable parts, manifests that list them, the state of all tables, the lock; folders and object stores."""
