"""Turns rows and vectors into matrices and files for other projects."""
