"""Users' views that can't be created: each fails only when it is used, and says why; `maker` creates the others.

A placeholder view takes the name of such a view, so that SHOW TABLES still lists it.
"""

import shlex
from dataclasses import dataclass

from featurestore.errors import QueryError
from featurestore.storage.names import quote_text


@dataclass(frozen=True)
class Failure:
    """Why a view can't be created: ``reason`` is the error of the view ``cause``, itself or one that it depends on."""

    cause: str
    reason: str

    def sentence(self, name: str) -> str:
        """The error message for a query that uses the view ``name``."""
        on = "" if name == self.cause else f"it depends on the view {self.cause!r}, and "
        text = (
            f"the view {name!r} can't be used ({on}{self.reason}): replace {self.cause!r} by `featurestore view "
            f"create {shlex.quote(self.cause)} --sql FILE --replace`, or `featurestore view remove {shlex.quote(name)}`"
        )
        return str(QueryError(text))  # shortened and escaped: it is also printed, not only raised


class FailingView(QueryError):
    """A query uses the view ``name``, which can't be created."""

    def __init__(self, name: str, failure: Failure) -> None:
        super().__init__(failure.sentence(name))
        self.failure = failure


def placeholder(name: str, failure: Failure) -> str:
    """The SELECT of a view ``name`` that fails with ``failure`` in any query that reads it."""
    fails = f"error({quote_text(failure.sentence(name))})"
    return f"SELECT {fails}::INTEGER AS ImgId WHERE {fails} IS NULL"
