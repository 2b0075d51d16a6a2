"""Heads fitted and asked: in worker processes, in parallel, with limits; costs; a head fitted for good."""
