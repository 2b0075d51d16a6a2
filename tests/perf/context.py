"""What every job is given: how thorough to be, where to put its data, the rivals; and the data that jobs share."""

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perf.measure import Contender, once
from perf.rivals import Rivals

ROOT = Path(__file__).resolve().parents[2]
POSTERS = ("posters_modern", "posters_classic")


@dataclass
class Context:
    """One run of the harness.

    Parameters
    ----------
    quick
        Little data and few rounds: to see whether it works, not how fast.
    whole
        The jobs that take many minutes do the whole of their work each round, not a part that is scaled up.
    repeats
        Rounds of each race.
    scratch
        Removed at the end.
    kept
        Kept for the next run: models that take a minute to make.
    real
        The folder with real posters and metadata; where it is absent, made-up ones take their place.
    """

    quick: bool
    whole: bool
    repeats: int
    scratch: Path
    kept: Path
    rivals: Rivals
    real: Path
    _made: dict[str, Path] = field(default_factory=dict)

    def size(self, whole: int, quick: int) -> int:
        """An amount of work."""
        return quick if self.quick else whole

    def share(self, whole: int, part: int, quick: int) -> int:
        """An amount of work of a job that takes many minutes."""
        return self.size(whole if self.whole else part, quick)

    def folder(self, name: str) -> Path:
        """An empty folder for one job."""
        path = self.scratch / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def other(self, name: str, rival: str, function: str, options: dict[str, Any], **more: Any) -> Contender:
        """A contender that the rivals' Python runs; ``function`` is one of `others`, unless it names its file."""
        where = function if ":" in function else f"others.py:{function}"
        return Contender(name, where, options, self.rivals.interpreter(rival), **more)

    def vectors(self, rows: int, dim: int, *, store: bool = True, every: int = 0) -> dict[str, str]:
        """Paths of a random matrix and, with ``store``, of a store of it; made once a run."""
        name = f"{rows}x{dim}-{every}"
        folder = self.scratch / f"vectors-{name}"
        paths = {"matrix": str(folder / "matrix.npy"), "store": str(folder / "store")}
        if name not in self._made:
            folder.mkdir()
            once("made.py:vectors", paths | {"rows": rows, "dim": dim, "every": every})
            self._made[name] = folder
        if store and f"{name}-store" not in self._made:
            once("made.py:store", paths)
            self._made[f"{name}-store"] = folder
        return paths

    def queries(self, paths: dict[str, str], count: int) -> dict[str, str]:
        """The paths, and that of ``count`` query vectors."""
        path = str(Path(paths["matrix"]).with_name(f"queries-{count}.npy"))
        if not Path(path).exists():
            once("made.py:queries", paths | {"queries": path, "count": count})
        return paths | {"queries": path}

    def posters(self, count: int) -> tuple[list[str], str]:
        """At most ``count`` poster files, and what they are."""
        found = [str(path) for name in POSTERS for path in sorted((self.real / name).glob("*.jpg"))]
        if len(found) >= count:
            return found[:count], "real posters"
        return self._drawn(count), "drawn posters"

    def metadata(self, count: int) -> tuple[str, str]:
        """A metadata file of ``count`` rows, and what it is."""
        packed = self.real / "MovieGenre.csv.gz"
        path = self.folder("metadata") / "MovieGenre.csv"
        if packed.is_file() and not self.quick:
            if not path.exists():
                path.write_bytes(gzip.decompress(packed.read_bytes()))
            return str(path), "the real table"
        once("made.py:movies", {"metadata": str(path), "count": count})
        return str(path), "a made-up table"

    def _drawn(self, count: int) -> list[str]:
        from featurestore.collections.movies.sample import write_sample

        folder = self.scratch / "drawn"
        if not folder.exists():
            write_sample(folder)
        found = [str(path) for path in sorted(folder.rglob("*.jpg"))]
        return found[:count]
