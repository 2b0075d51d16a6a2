"""Bytes: immutable parts, the logs that list them, the state over all tables, the lock; copies of object stores."""
