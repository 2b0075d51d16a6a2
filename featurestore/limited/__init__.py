"""Processes with hard limits of time and memory, for SQL that somebody else wrote; it knows no store."""
