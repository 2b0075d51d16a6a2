"""Tidy tables in the store: rows are added as cells finish, and read by SQL queries."""
