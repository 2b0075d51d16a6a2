"""Records with one field changed, each field to each of some hostile values, and what must hold of their readers."""

import copy
import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

from featurestore.errors import FeatureStoreError

# Bytes that a reader may take for a record of a few kilobytes.
MOST_BYTES = 8 * 2**20
DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**70, 1.5, 1e308, float("nan"), "", "x", "../../../x", "/etc/passwd", "CON"),
    *("a\0b", "\ud800", "1" * 5000, "x" * 5000, [], {}, [None], ["x", "x"], {"": None}, DEEP, list(range(300))),
)
NUMBERS = (-1, 0, 1, 2**31 - 1, 2**40, 2**62, 2**70)


def edits(record: Any, values: tuple[Any, ...] = VALUES) -> Iterator[tuple[str, Any]]:
    """Copies of ``record``, a tree of JSON, with one change each, and which it is: set, left out, more, twice."""
    for place in _places(record):
        where = "/".join(map(str, place))
        for value in values:
            yield (
                f"{where} = {str(value)[:40]!r}",
                _changed(record, place, lambda holder, key, v=value: set_(holder, key, v)),
            )
        yield f"without {where}", _changed(record, place, lambda holder, key: holder.pop(key))
        yield f"{where} wrapped", _changed(record, place, lambda holder, key: set_(holder, key, [holder[key]]))
    if isinstance(record, dict):
        yield "one more", {**record, "more": 1}


def set_(holder: Any, key: Any, value: Any) -> None:
    holder[key] = value


def _changed(record: Any, place: tuple[Any, ...], change: Callable[[Any, Any], object]) -> Any:
    """A copy with one change; what is not on the way to it is shared."""
    copied = copy.copy(record)
    holder = copied
    for key in place[:-1]:
        holder[key] = copy.copy(holder[key])
        holder = holder[key]
    change(holder, place[-1])
    return copied


def _places(value: Any) -> Iterator[tuple[Any, ...]]:
    """Where each field lies; of a list its first six items."""
    keys: Any = list(value) if isinstance(value, dict) else range(min(len(value), 6)) if isinstance(value, list) else ()
    for key in keys:
        yield (key,)
        yield from ((key, *rest) for rest in _places(value[key]))


def text(record: Any) -> bytes:
    """As a stranger writes it: any numbers, any text."""
    return json.dumps(record).encode()


def answered(what: str, read: Callable[..., Any], *given: Any) -> Any:
    """What ``read`` returns for ``given``; None where it refuses, in one short sentence."""
    try:
        return read(*given)
    except FeatureStoreError as error:
        sentence = str(error)
    except BaseException as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert sentence.isprintable(), what
    assert 0 < len(sentence.encode()) <= 2000, what
    return None


def answered_with_little(what: str, read: Callable[..., Any], *given: Any) -> Any:
    """The same, and it takes little memory; `tracemalloc` makes it slow."""
    tracemalloc.start()
    try:
        found = answered(what, read, *given)
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES, what
    finally:
        tracemalloc.stop()
    return found
