"""What every job is given: how thorough to be, where to put its data, the failing layer."""

import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from torture import shim
from torture.bed import Bed

Given = TypeVar("Given")
Result = TypeVar("Result")


@dataclass
class Context:
    """One run of the harness.

    Parameters
    ----------
    quick
        The short form: the same code, fewer moments, seconds instead of minutes.
    moments
        Kills, over all jobs.
    seconds
        How long the load lasts.
    scratch
        Removed at the end.
    seed
        Of everything that is random.
    images, backbone
        What is embedded with what, where a job takes real ones; what the job generates when None and empty.
    """

    quick: bool
    moments: int
    seconds: float
    scratch: Path
    seed: int = 0
    images: Path | None = None
    backbone: str = ""

    def size(self, whole: int, quick: int) -> int:
        """An amount of work."""
        return quick if self.quick else whole

    def bed(self, name: str) -> Bed:
        """A test bed of its own for one job."""
        return Bed(self.scratch / name)

    def library(self) -> Path | None:
        """The failing layer, None where it can't be built."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        return shim.build(self.scratch)

    def random(self, name: str) -> random.Random:
        """Numbers that are the same in every run."""
        return random.Random(f"{self.seed} {name}")

    def each(self, function: Callable[[Given], Result], given: Iterable[Given]) -> list[Result]:
        """``function`` of each, as many at a time as there are cores: the work is in other processes."""
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
            return list(pool.map(function, given))


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Variables in the environment of what the block starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({} if value is None else {name: value})


def spread(total: int, count: int, numbers: random.Random) -> list[int]:
    """``count`` of the numbers 1 … ``total``, one at random out of each of ``count`` equal stretches; all if few."""
    if count >= total:
        return list(range(1, total + 1))
    edges = [round(place * total / count) for place in range(count + 1)]
    return [numbers.randint(low + 1, high) for low, high in pairwise(edges)]
