"""Figures of predictions: metrics, and which differences are significant."""
