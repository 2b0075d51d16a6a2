"""Users' views that can't be made: each fails alone, where it is used, and says why; `maker` makes those that can.

A placeholder has the name of such a view, so that it stays in SHOW TABLES.
"""

import shlex
from dataclasses import dataclass

from featurestore.errors import QueryError
from featurestore.storage.names import quote_text


@dataclass(frozen=True)
class Failure:
    """Why a view can't be made: ``reason`` is that of the view ``cause``, itself or one that it stands on."""

    cause: str
    reason: str

    def sentence(self, name: str) -> str:
        """What to tell whoever uses the view ``name``."""
        on = "" if name == self.cause else f"it stands on the view {self.cause!r}, and "
        text = (
            f"the view {name!r} can't be used ({on}{self.reason}): make {self.cause!r} anew with `featurestore view "
            f"create {shlex.quote(self.cause)} --sql FILE --replace`, or `featurestore view remove {shlex.quote(name)}`"
        )
        return str(QueryError(text))  # short, and without what moves a cursor: it is printed too, not only raised


class FailingView(QueryError):
    """A query uses the view ``name``, which can't be made."""

    def __init__(self, name: str, failure: Failure) -> None:
        super().__init__(failure.sentence(name))
        self.failure = failure


def placeholder(name: str, failure: Failure) -> str:
    """The SELECT of a view ``name`` that fails with ``failure`` whatever is asked of it."""
    fails = f"error({quote_text(failure.sentence(name))})"
    return f"SELECT {fails}::INTEGER AS ImgId WHERE {fails} IS NULL"
