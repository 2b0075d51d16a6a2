"""Which files a head that is read from a model folder may name: those that this person names; it opens none."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from featurestore.errors import InputError

# None outside a read: a head that this person makes names what files it likes.
_named: ContextVar[frozenset[str] | None] = ContextVar("named", default=None)


@contextmanager
def only(named: Collection[str]) -> Iterator[None]:
    """A block that reads a model of whoever wrote it."""
    token = _named.set(frozenset(named))
    try:
        yield
    finally:
        _named.reset(token)


def check_named(path: str) -> None:
    """Refuse a file that a model names and this person does not.

    Raises
    ------
    InputError
        In a block of `only` without it.
    """
    named = _named.get()
    if named is not None and path not in named:
        raise InputError(
            f"the model wants to read the file {path[:200]!r}: if it is yours, and you trust it, name it with --trust"
        )
