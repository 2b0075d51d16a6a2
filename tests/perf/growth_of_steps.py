"""What each step takes in seconds and memory as a store grows, with what follows for ten million images.

python tests/perf/growth_of_steps.py [--dim 64] [--scratch DIR] [COUNT …]

Each step runs in a process of its own; in parentheses are the seconds of the processor. Figures at ten million are
reckoned: the last one, and as much more for each row as between the last two counts.
"""

import argparse
import math
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


def _ahead(scale: Sequence[float], values: Sequence[float]) -> float:
    """The value at the last of ``scale``, on the line through the last two ``values``."""
    if len(values) < 2:
        return float("nan")
    slope = (values[-1] - values[-2]) / (scale[-2] - scale[-3])
    return values[-1] + max(slope, 0.0) * (scale[-1] - scale[-2])


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
    for name in ("commits", "parts", "manifest_bytes"):
        values = [grown[name] for grown in left]
        # Commits grow with the logarithm of the number of images.
        scale = [math.log(count) for count in (*counts, GOAL)] if name == "commits" else [*counts, GOAL]
        lines.append([name.replace("_", " "), *(f"{value:,}" for value in values), f"{_ahead(scale, values):,.0f}"])
    for name in STEPS:
        found = [steps[name] for steps in taken if name in steps]
        if len(found) < len(counts):
            continue
        taken_by = [[getattr(one, unit) for one in found] for unit in ("seconds", "cpu_seconds", "memory_mb")]
        cells = [_cell(*one) for one in zip(*taken_by, strict=True)]
        lines.append([name, *cells, _cell(*(_ahead([*counts, GOAL], one) for one in taken_by))])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(seconds: float, cpu_seconds: float, memory_mb: float) -> str:
    return f"{seconds:.3g} s ({cpu_seconds:.3g}), {memory_mb:,.0f} MB"


if __name__ == "__main__":
    main()
