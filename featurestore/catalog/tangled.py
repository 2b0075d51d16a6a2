"""Limits on users' views that depend on each other, and on their text: binding one binds all that it uses, each time.

A view that uses another one twice, which does the same, takes twice the time with each step: 30 small views would take
all memory. The numbers are far above what people write.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from featurestore.catalog.parse import folded, nodes
from featurestore.errors import QueryError

# Steps from a view to the last that it depends on; views used in all, each as often as it is; characters of a text.
DEEPEST, MOST_USED, LONGEST_TEXT = 100, 200, 200_000


@dataclass(frozen=True)
class Extent:
    """How many steps of users' views a view depends on, and how many it uses in all, itself included."""

    depth: int = 1
    used: int = 1


def check_text(text: str) -> None:
    """Raise `QueryError` if the text of a view is too long."""
    if len(text) > LONGEST_TEXT:
        raise QueryError(
            f"its text has {len(text):,} characters, expected at most {LONGEST_TEXT:,}: put long lists into a table"
        )


def extent(tree: Any, others: dict[str, Extent]) -> Extent:
    """The extent of a view with that parse tree over ``others``.

    Raises
    ------
    QueryError
        When it is too large.
    """
    tables = Counter(folded(node.get("table_name", "")) for node in nodes(tree) if node.get("type") == "BASE_TABLE")
    used = {name: count for name, count in tables.items() if name in others}
    depth = 1 + max((others[name].depth for name in used), default=0)
    total = 1 + sum(others[name].used * count for name, count in used.items())
    if depth > DEEPEST:
        raise QueryError(f"it is the end of a chain of more than {DEEPEST} views: combine some of them")
    if total > MOST_USED:
        raise QueryError(f"it uses more than {MOST_USED} views, each counted as often as it is used: combine some")
    return Extent(depth, total)
