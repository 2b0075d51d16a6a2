"""The tables that the bench keeps in the store: their columns and one line on each, nothing else."""

import pyarrow as pa

_TIME = pa.timestamp("us", tz="UTC")
# What `featurestore schema` says of each table, and which columns are lists of ImgIds, by the entry point group
# `featurestore.tables`.
ABOUT = {
    "bench_runs": "Each run of the bench: protocol, view, label, classes, seed, and the cells that it consists of.",
    "bench_run_details": "More on each run of the bench: rows without a label, rows left out, the hash of the labels.",
    "bench_groups": "The images of each run that are copies of others; those of one group are judged together.",
    "bench_across": {
        "about": "What each run of the protocol `across` compared: the domains, and its splits.",
        "img_ids": ["ids"],  # of images that `featurestore forget` removed, null is left
    },
    "bench_cells": "Each cell: one head, fitted on one split of the embeddings of one backbone.",
    "bench_scores": "The scores of each cell, a row for each metric.",
    "bench_predictions": "What each cell predicts for each test image; `proba` is in the order of the run's `classes`.",
    "bench_corrected": "The images of each run whose label had been corrected.",
    "bench_costs": "The time, memory and size of each head on each backbone.",
}

RUNS = pa.schema(
    [
        ("run_id", pa.string()),
        ("started_at", _TIME),
        ("protocol", pa.string()),
        ("protocol_text", pa.string()),
        ("folds", pa.int32()),
        ("repeats", pa.int32()),
        ("task", pa.string()),
        ("canary", pa.bool_()),
        ("view", pa.string()),
        ("label", pa.string()),
        ("classes", pa.list_(pa.string())),
        ("class_counts", pa.list_(pa.int64())),
        ("seed", pa.int64()),
        ("seeds", pa.int64()),
        ("reference", pa.string()),
        ("state_id", pa.string()),
        ("synthetic", pa.bool_()),
        ("n_rows", pa.int64()),
        ("n_missing", pa.int64()),
        ("leaks", pa.int64()),
        ("warnings", pa.list_(pa.string())),
        ("libraries", pa.string()),
        ("machine", pa.string()),
        ("cells", pa.list_(pa.string())),
    ]
)
# Columns that were added later: a table keeps its columns, so that these are in a table of their own.
RUN_DETAILS = pa.schema(
    [
        ("run_id", pa.string()),
        ("bench_version", pa.int32()),
        ("labels_hash", pa.string()),
        ("n_unlabelled", pa.int64()),
        ("n_rare", pa.int64()),
        ("reference_named", pa.bool_()),
    ]
)
# The images of a run that are copies of others: those of one group are judged together.
GROUPS = pa.schema([("run_id", pa.string()), ("ImgId", pa.int32()), ("copies", pa.int64())])
# The images of a run whose label was another than had been read, by a correction in the store.
CORRECTED = pa.schema([("run_id", pa.string()), ("ImgId", pa.int32())])
# What a run of the protocol `across` compared. `domain` holds for each of `ids` its place in `domains`, each of which
# has `class_counts` of its own; of each split `learned` and `tested` are such places, `class_counts` those of its
# training part, and `dropped` counts the rows of `learned` that are not in it, since they have a duplicate in the test
# part.
ACROSS = pa.schema(
    [
        ("run_id", pa.string()),
        ("by_column", pa.string()),
        ("domains", pa.list_(pa.string())),
        ("ordered", pa.bool_()),
        ("class_counts", pa.list_(pa.list_(pa.int64()))),
        ("left_out", pa.list_(pa.string())),
        ("ids", pa.list_(pa.int32())),
        ("domain", pa.list_(pa.int32())),
        (
            "splits",
            pa.list_(
                pa.struct(
                    [
                        ("fold", pa.int32()),
                        ("kind", pa.string()),
                        ("learned", pa.list_(pa.int32())),
                        ("tested", pa.list_(pa.int32())),
                        ("n_train", pa.int64()),
                        ("dropped", pa.int64()),
                        ("class_counts", pa.list_(pa.int64())),
                    ]
                )
            ),
        ),
    ]
)
CELLS = pa.schema(
    [
        ("cell", pa.string()),
        ("model", pa.string()),
        ("run_id", pa.string()),
        ("finished_at", _TIME),
        ("backbone", pa.string()),
        ("revision", pa.string()),
        ("head", pa.string()),
        ("parameters", pa.string()),
        ("chosen", pa.string()),
        ("inner_score", pa.float64()),
        ("task", pa.string()),
        ("protocol", pa.string()),
        ("repeat", pa.int32()),
        ("fold", pa.int32()),
        ("size", pa.float64()),
        ("split_hash", pa.string()),
        ("data_hash", pa.string()),
        ("synthetic", pa.bool_()),
        ("seed", pa.int64()),
        ("n_train", pa.int64()),
        ("n_test", pa.int64()),
        ("status", pa.string()),
        ("message", pa.string()),
    ]
)
SCORES = pa.schema([("cell", pa.string()), ("metric", pa.string()), ("score", pa.float64())])
# `y` is the place of the true class in the run's `classes`; with several labels `labels` holds all of them.
PREDICTIONS = pa.schema(
    [
        ("cell", pa.string()),
        ("ImgId", pa.int32()),
        ("y", pa.int32()),
        ("labels", pa.list_(pa.int32())),
        ("proba", pa.list_(pa.float32())),
    ]
)
COSTS = pa.schema(
    [
        ("model", pa.string()),
        ("backbone", pa.string()),
        ("head", pa.string()),
        ("measured_at", _TIME),
        ("n_train", pa.int64()),
        ("message", pa.string()),
        ("fit_seconds", pa.float64()),
        ("predict_ms_p50", pa.float64()),
        ("predict_ms_p95", pa.float64()),
        ("memory_mb", pa.float64()),
        ("model_bytes", pa.float64()),
        ("depends_on_batch", pa.bool_()),
        ("machine", pa.string()),
    ]
)
