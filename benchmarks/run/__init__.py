"""Fits and scores heads in parallel worker processes with limits; measures costs; fits the final model."""
