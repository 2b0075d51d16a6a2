"""A comparison table as `report.tables.table_of` makes it, without a run."""

from benchmarks.report.tables import published_rows


def shaped(**changes: object) -> dict[str, object]:
    """A table of one row over the backbone ``a_b``, with three published rows."""
    row = {"backbone": "a_b", "head": "100%_{x}&#$~^", "failed": 0, "cells": 50, "published": False}
    row |= {"in_best_set": True, "reference": True, "synthetic": True, "accuracy": 0.6, "interval": [0.5, 0.7]}
    row |= {"difference": -0.1, "verdict": "worse", "rank": [1, 3], "log_loss": 1.0, "fit_seconds": 3.0} | changes
    table = {"protocol": "study", "protocol_text": "one split", "n_rows": 811, "view": "labeled", "label": "Genre1"}
    table |= {"synthetic": True, "n_missing": 0, "task": "multiclass", "warnings": [], "rank_by": "accuracy"}
    return {**table, "rows": [row, *published_rows()[:3]]}
