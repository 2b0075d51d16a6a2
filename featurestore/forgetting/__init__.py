"""Forgetting: removes images from everything that a store holds: states, snapshots, manifests, parts and caches."""
