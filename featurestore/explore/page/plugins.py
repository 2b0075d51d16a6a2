"""Pages of other packages, such as the bench's: functions that they name by an entry point."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from featurestore.errors import reason

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

log = logging.getLogger(__name__)

ENTRY_POINTS = "featurestore.pages"
# An address that changes something: called with the JSON object that was sent.
CHANGING = "POST "
Page = Callable[[Mapping[str, Any]], object]


@dataclass(frozen=True)
class PluginPages:
    """What other packages answer, by the address below ``api/``, and a sentence for each package that can't."""

    answers: Mapping[str, Page] = field(default_factory=dict)
    problems: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The addresses, those that change something without their mark."""
        return sorted({name.removeprefix(CHANGING) for name in self.answers})


def find_pages(store: "Explorer") -> PluginPages:
    """The pages that installed packages have for ``store``.

    An entry point of the group `ENTRY_POINTS` names a function; called with the store, it returns what answers each of
    its addresses: a function of the query's parameters, or after `CHANGING` one of the JSON object that was sent. The
    value that it returns must be ready for JSON.
    """
    answers: dict[str, Page] = {}
    problems = []
    for point in entry_points(group=ENTRY_POINTS):
        try:
            answers |= point.load()(store)
        except Exception as error:  # another package's code may raise anything
            log.exception("the pages of the package %r can't be used", point.name)
            problems.append(f"the pages of the package {point.name!r} can't be used: {reason(error)}")
    return PluginPages(answers, tuple(problems))
