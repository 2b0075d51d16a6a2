"""Which repeats of a run are whole, and after which of them its table is worth a look."""

from collections import Counter
from collections.abc import Sequence

from benchmarks.plan.cells import Cell


class Repeats:
    """Counts the cells that are left of each repeat.

    A look is due when the number of whole repeats, from the first on, has doubled since the last one, and before the
    last repeat is whole: after 1, 2, 4, 8, … The differences between rows narrow by the root of that number, so that
    more looks would show little more. Repeats that are whole from the start are not shown again.

    Parameters
    ----------
    missing
        The cells that are going to be tried.
    total
        The repeats of the run.
    """

    def __init__(self, missing: Sequence[Cell], total: int) -> None:
        self.total = total
        self._left = Counter(cell.split.repeat for cell in missing)
        self._shown = self.whole

    @property
    def whole(self) -> int:
        """How many repeats, from the first on, have no cell left."""
        return min((repeat for repeat, left in self._left.items() if left), default=self.total)

    @property
    def due(self) -> bool:
        """Whether the table is worth a look now."""
        return self.whole < self.total and self.whole.bit_length() > self._shown.bit_length()

    def tried(self, cell: Cell) -> None:
        """Count ``cell`` as tried, with a result or without."""
        self._left[cell.split.repeat] -= 1

    def shown(self) -> int:
        """Note that the table is shown now; how many repeats are whole."""
        self._shown = self.whole
        return self._shown
