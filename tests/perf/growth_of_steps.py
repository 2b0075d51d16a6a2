"""What each step takes in seconds and memory as a store grows, with what follows for ten million images.

python tests/perf/growth_of_steps.py [--dim 64] [--scratch DIR] [COUNT …]

Each step runs in a process of its own; in parentheses are the seconds of the processor. Figures at ten million are
reckoned: the last one, and as much more for each row as between the last two counts.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from perf.measure import Contender, race  # noqa: E402

COUNTS = (10_000, 100_000, 1_000_000)
GOAL = 10_000_000
DIM = 64
# The function in `contenders/grown.py` of each step, and its options.
STEPS: dict[str, tuple[str, dict[str, Any]]] = {
    "embed, all new": ("embedded", {}),  # the first one: it makes the store
    "open, count images": ("opened", {}),
    "info": ("info", {}),
    "SQL: count vectors": ("sql", {}),
    "plan, nothing new": ("plan", {"new": 0}),
    "plan, all new": ("plan", {"new": 1}),
    "embed, nothing new": ("nothing_new", {}),
    "features": ("features", {}),
    "feature_batches": ("batches", {}),
    "search, first": ("search", {}),
    "search, next": ("search", {"again": True}),
    "gc --dry-run": ("gc", {}),
    "publish 1,024 rows": ("publish", {}),  # the last one: it changes the store
}


@dataclass(frozen=True)
class Taken:
    """What one step took at one count: seconds, those of the processor, and by how many MB its process grew."""

    seconds: float
    cpu_seconds: float
    memory_mb: float


def measure(folder: Path, count: int, dim: int) -> tuple[dict[str, Any], dict[str, Taken]]:
    """What one embed of ``count`` images left, and what each step took on that store."""
    options = {"store": str(folder / "store"), "count": count, "dim": dim, "batch": 100 if count < 100_000 else 1000}
    taken, grown = {}, {}
    for name, (function, more) in STEPS.items():
        runs = race([Contender(name, f"grown.py:{function}", options | more, fresh=True)], 1)[name]
        if runs.error:
            print(f"{name}: {runs.error}", file=sys.stderr)
            continue
        taken[name] = Taken(runs.seconds[0], runs.cpu_seconds[0], runs.memory_mb[0])
        grown = grown or runs.answer
    return grown, taken


def reckoned(counts: Sequence[int], values: Sequence[float]) -> float:
    """The value at `GOAL`, on the line through the last two."""
    if len(values) < 2:
        return float("nan")
    slope = (values[-1] - values[-2]) / (counts[-1] - counts[-2])
    return values[-1] + max(slope, 0.0) * (GOAL - counts[-1])


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=COUNTS)
    parser.add_argument("--dim", type=int, default=DIM)
    parser.add_argument("--scratch", type=Path, help="where generated data goes (default: the system's)")
    asked = parser.parse_args()
    left, taken = [], []
    for count in asked.counts:
        folder = Path(tempfile.mkdtemp(prefix="growth-", dir=asked.scratch))
        try:
            grown, steps = measure(folder, count, asked.dim)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        left.append(grown)
        taken.append(steps)
        print(f"{count:,}: {grown}", *(f"  {name}: {one}" for name, one in steps.items()), sep="\n", flush=True)
    print(table(asked.counts, left, taken))


def table(counts: Sequence[int], left: Sequence[dict[str, Any]], taken: Sequence[dict[str, Taken]]) -> str:
    """A Markdown table of what was measured and, in the last column, reckoned."""
    lines = [["", *(f"{count:,}" for count in counts), f"{GOAL:,}, reckoned"]]
    lines.append(["---", *["--:"] * (len(counts) + 1)])
    lines += [[name, *(f"{grown[name]:,}" for grown in left), ""] for name in ("commits", "parts", "manifest_bytes")]
    for name in STEPS:
        found = [steps[name] for steps in taken if name in steps]
        if len(found) < len(counts):
            continue
        values = [[one.seconds for one in found], [one.cpu_seconds for one in found], [one.memory_mb for one in found]]
        cells = [_cell(*one) for one in zip(*values, strict=True)]
        lines.append([name, *cells, _cell(*(reckoned(counts, one) for one in values))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(seconds: float, cpu_seconds: float, memory_mb: float) -> str:
    return f"{seconds:.3g} s ({cpu_seconds:.3g}), {memory_mb:,.0f} MB"


if __name__ == "__main__":
    main()
