"""Which columns a table has, in which order, and what each is called."""

from typing import Any

# Column, heading, digits; a plus shows the sign, p is a probability that is never printed as zero, limited is a figure
# with, in brackets, what it can be by chance.
Column = tuple[str, str, str]
SPEED: tuple[Column, ...] = (("fit_seconds", "fit s", ".2f"), ("predict_ms", "predict ms", ".3f"))
TESTED: tuple[Column, ...] = (
    ("rank", "rank", "rank"),
    ("difference", "vs ref.", "+z.3f"),
    ("verdict", "verdict", ""),
    ("difference_interval", "95 % of it", "+z.3f"),
)
LOSS: tuple[Column, ...] = (
    ("log_loss_rank", "rank by log loss", "rank"),
    ("log_loss_difference", "log loss vs ref.", "+z.3f"),
    ("log_loss_verdict", "by log loss", ""),
    ("log_loss_difference_interval", "95 % of it", "+z.3f"),
)
# The most telling first: a terminal shows as many as it is wide.
COLUMNS: dict[str, tuple[Column, ...]] = {
    "multiclass": (
        ("accuracy", "accuracy", ".3f"),
        ("interval", "95 % interval", ".3f"),
        *TESTED,
        ("f1_macro", "macro-F1", ".3f"),
        ("log_loss", "log loss", ".3f"),
        *LOSS,
        ("balanced_accuracy", "balanced", ".3f"),
        ("precision_weighted", "precision", ".3f"),
        ("f1_weighted", "F1", ".3f"),
        ("roc_auc_ovr", "AUC", ".3f"),
        ("brier", "Brier", ".3f"),
        ("calibration", "calib. (chance)", "limited"),
        ("surest_half", "surest half", ".3f"),
        *SPEED,
    ),
    "multilabel": (
        ("map", "mAP", ".3f"),
        *TESTED,
        ("f1_micro", "micro-F1", ".3f"),
        ("f1_macro", "macro-F1", ".3f"),
        ("top_label", "top label", ".3f"),
        *SPEED,
    ),
}

# In CSV, where width costs nothing.
MORE = (
    "accuracy_sd",
    "calibration_limit",
    "calibration_p",
    "ece",
    "recall_weighted",
    "precision_macro",
    "recall_macro",
    "surest_quarter",
    "aurc",
    "p_value",
    "log_loss_p_value",
    "cost_fit_seconds",
    "predict_ms_p50",
    "predict_ms_p95",
    "memory_mb",
    "model_bytes",
)


# Columns of two numbers, which CSV has as two columns.
PAIRS = ("rank", "difference_interval", "log_loss_rank", "log_loss_difference_interval")


def in_csv(column: str) -> list[str]:
    """The names of a column in CSV; the interval of the score is there as ``low`` and ``high``."""
    if column == "interval":
        return []
    return [f"{column}_low", f"{column}_high"] if column in PAIRS else [column]


def spelled(metric: str) -> str:
    """A metric as a sentence or an axis names it."""
    return "mAP" if metric == "map" else metric.replace("_", " ")


def columns(table: dict[str, Any]) -> list[Column]:
    """The columns of a table, in order: the metric that it is ranked by first; by log loss what is said of it once."""
    shown = list(COLUMNS[table["task"]])
    ranked = table.get("rank_by")
    if ranked == "log_loss":
        shown = [column for column in shown if column not in LOSS]
    first = next((column for column in shown if column[0] == ranked), None)
    if first is None and ranked is not None:
        first = (ranked, spelled(ranked), ".3f")
    return shown if first is None else [first, *(column for column in shown if column != first)]
