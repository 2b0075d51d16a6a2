"""Turns images into vectors: plan, compute, stage, publish; imports vectors that were computed elsewhere."""
