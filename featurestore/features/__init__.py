"""Rows and vectors become matrices and files for other projects."""
