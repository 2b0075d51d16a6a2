"""What a run may use: processes, seconds and memory, and where."""

from dataclasses import dataclass

from benchmarks.run.pool import TIME_LIMIT_SECONDS
from featurestore.errors import InputError
from featurestore.system import cores


@dataclass(frozen=True)
class Limits:
    """What a run may use.

    Parameters
    ----------
    workers
        Processes, one thread each; the number of cores when None, on a cluster of its CPUs.
    seconds
        For one cell.
    memory_mb
        What a worker may allocate beyond the libraries; no limit when None.
    on
        A Ray cluster that computes the cells, see `featurestore.engines.connect`; this machine when None.
    """

    workers: int | None = None
    seconds: float = TIME_LIMIT_SECONDS
    memory_mb: int | None = None
    on: str | None = None

    def __post_init__(self) -> None:
        """Refuse a time limit that is not a positive number."""
        if not 0 < self.seconds < float("inf"):
            raise InputError(f"got a time limit of {self.seconds} s, expected a finite number above 0")

    @property
    def processes(self) -> int:
        """The number of worker processes."""
        return self.workers or cores()
