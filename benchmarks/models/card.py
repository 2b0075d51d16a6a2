"""The card of a saved model: which fields it must have, and its text for people."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from featurestore import markdown
from featurestore.errors import InputError

FORMAT = 1
# Values of the longest vector that a model takes: of several backbones side by side.
LONGEST_VECTOR = 2**20


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _text(value: Any) -> bool:
    return isinstance(value, str)


# The fields of a card that are used, not only shown, and a check of each.
FIELDS: dict[str, Callable[[Any], bool]] = {
    "sha256": lambda value: isinstance(value, dict),
    "classes": lambda value: _names(value) and 0 < len(value) == len(set(value)),
    "backbone": _text,
    "revision": _text,
    "weights": _names,
    "sources": _names,
    "embed_dim": lambda value: type(value) is int and 0 < value <= LONGEST_VECTOR,
    "view": _text,
    "label": _text,
    "synthetic": lambda value: isinstance(value, bool),
}


def check_card(path: Path, card: Any) -> None:
    """Refuse what the file ``path`` holds when it is no card, or a field that is used does not fit.

    Raises
    ------
    InputError
        When it is none, or one of another format, or which names the fields.
    """
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise InputError(f"{str(path)!r} is no card of format {FORMAT}")
    bad = [name for name, fits in FIELDS.items() if not fits(card.get(name))]
    if bad:
        raise InputError(f"the card {str(path)!r} has no valid {', '.join(bad)}: get the model folder again")


def describe(card: dict[str, Any]) -> str:
    """The card for people, as Markdown."""
    measured = [
        f"accuracy {row['accuracy']:.3f} (95 % interval {row['interval'][0]:.3f} to {row['interval'][1]:.3f}), "
        f"macro-F1 {row['f1_macro']:.3f}, log loss {row['log_loss']:.3f}: {row['protocol_text']}"
        for row in card.get("scores") or []
    ] or ["not measured: run benchmarks run with this head and backbone"]
    origin = [
        f"backbone {card['backbone']}, revision {card['revision']}; weights {', '.join(card['weights'])}",
        f"settings {json.dumps(card['settings'])}, chosen {json.dumps(card['chosen'])}, seed {card['seed']}",
        f"store state {card['state_id']}, data {card['data_hash']}, fitted {card['created']}",
        ", ".join(f"{name} {number}" for name, number in card["libraries"].items()),
    ]
    synthetic = ["**SYNTHETIC data or weights: its scores say nothing about real images.**", ""]
    return "\n".join(
        [
            f"# {markdown.text(card['head'])} over {markdown.text(card['backbone'])}",
            "",
            *(synthetic if card["synthetic"] else []),
            markdown.text(f"Predicts {', '.join(card['classes'])} ({card['label']} of the view {card['view']})."),
            f"Fitted on all {card['n_rows']:,} rows; vectors of {card['embed_dim']:,} values.",
            "",
            "## Scores on held-out rows (of the same head, fitted on the other rows)",
            "",
            *(f"- {markdown.text(line)}" for line in measured),
            "",
            "## Where it comes from",
            "",
            *(f"- {markdown.text(line)}" for line in origin),
            "",
        ]
    )
