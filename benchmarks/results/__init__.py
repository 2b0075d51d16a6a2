"""Tidy tables in the store: written as cells end, read by questions in SQL."""
