"""What the explorer's server and its answers hand each other: questions, answers, errors and the table of addresses."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from featurestore.errors import InputError

JSON = "application/json"
Query = Mapping[str, str]


@dataclass(frozen=True)
class PageAnswer:
    """What is sent for a request; ``cached`` lets the browser keep it for an hour."""

    body: bytes
    kind: str = JSON
    status: int = 200
    cached: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)


class PageError(InputError):
    """A request that gets another status than 400."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Routes:
    """What answers each address below the token, ``""`` for the page itself.

    Parameters
    ----------
    get
        By exact address, called with the parameters of the query.
    below
        By the part of the address up to its last slash, such as ``thumb/``, called with what follows it.
    post
        By exact address, called with the JSON object that was sent.
    """

    get: Mapping[str, Callable[[Query], PageAnswer]]
    below: Mapping[str, Callable[[str], PageAnswer]] = field(default_factory=dict)
    post: Mapping[str, Callable[[dict[str, Any]], PageAnswer]] = field(default_factory=dict)


def json_answer(value: object, *, status: int = 200, headers: Mapping[str, str] = {}) -> PageAnswer:
    """``value`` as JSON; raises ValueError where it holds NaN or infinity, which JSON has not."""
    return PageAnswer(json.dumps(value, allow_nan=False).encode(), status=status, headers=headers)
