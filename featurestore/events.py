"""What a pipeline may want to collect: what happened to a store, as records of Python's `logging` with their facts.

They reach every handler of ``logging.getLogger("featurestore")``. The arguments of a record are one dictionary, as in
``record.args["number"]``, and ``record.args["event"]`` names the kind. Nothing is printed unless a handler is set up;
commands, which print results of their own, leave them out.
"""

import logging
from collections.abc import Mapping

from featurestore.terminal import visible

EVENTS = "featurestore.events"

_log = logging.getLogger(EVENTS)
_log.addHandler(logging.NullHandler())  # else Python prints warnings that nobody collects


def happened(event: str, message: str, facts: Mapping[str, object]) -> None:
    """Log that ``event`` happened; ``message`` has places such as ``%(number)d`` for some of ``facts``."""
    _log.info(message, arguments(event, facts))


def went_wrong(event: str, message: str, facts: Mapping[str, object]) -> None:
    """Log as `happened` does, as a warning: something was left out or failed, and the work went on."""
    _log.warning(message, arguments(event, facts))


def arguments(event: str, facts: Mapping[str, object]) -> dict[str, object]:
    """The arguments of a record; text in them is on one line, since names and reasons come from strangers."""
    shown = {name: visible(fact, spaces=False) if isinstance(fact, str) else fact for name, fact in facts.items()}
    return {"event": event, **shown}
