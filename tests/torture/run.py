"""`make torture`: every fault done to every job for real; prints one table, keeps it as JSON, fails when one fails.

    python tests/torture/run.py [--quick] [--only JOB ...] [--moments N] [--seconds N] [--out DIR]
    python tests/torture/run.py --only hashes [--images DIR] [--backbone REFERENCE]

`--quick` is the short form that `make test` runs: the same code on fewer moments and seconds.
"""

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The packages before the tests: folders of tests have their names.
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "helpers")]

import harness  # noqa: E402

from torture.context import Context  # noqa: E402
from torture.table import Row, render, save, table  # noqa: E402

JOBS = {name: f"torture.{name}:run" for name in ("kill", "shards", "disk", "damage", "load", "determinism", "inputs")}
JOBS |= {"object-store": "torture.object_store:run", "cluster": "torture.cluster:run", "hashes": "torture.hashes:run"}
PACKAGES = ("numpy", "pyarrow", "duckdb", "scikit-learn", "filelock")


def main() -> int:
    """Torture, print and keep; the exit code is 1 when anything failed."""
    options = _options()
    scratch = Path(tempfile.mkdtemp(prefix="torture-", dir=options.scratch))
    try:
        context = Context(
            quick=options.quick,
            moments=options.moments or (10 if options.quick else 200),
            seconds=options.seconds or (4 if options.quick else 600),
            scratch=scratch,
            seed=options.seed,
            images=options.images,
            backbone=options.backbone,
        )
        about = harness.about(PACKAGES, seed=context.seed, quick=context.quick)
        rows = run(options.only or list(JOBS), context)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    harness.keep(render(rows, about), lambda path: save(rows, about, path), about, options.out)
    return int(any(row.outcome == "FAIL" for row in rows))


def run(names: list[str], context: Context) -> list[Row]:
    """The rows of these jobs; each is printed as it ends."""

    def failed(name: str, words: str, seconds: float) -> Row:
        return Row(name, "the rest of it", 0, [words], seconds)

    return harness.each(JOBS, names, context, failed=failed, table=partial(table, head=False))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=JOBS, metavar="JOB", help=f"repeatable: {', '.join(JOBS)}")
    parser.add_argument("--quick", action="store_true", help="the short form")
    parser.add_argument("--moments", type=int, help="kills over all jobs (default 200)")
    parser.add_argument("--seconds", type=float, help="how long the load lasts (default 600)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")
    parser.add_argument("--images", type=Path, metavar="DIR", help="for hashes: real images (default: generated ones)")
    parser.add_argument("--backbone", default="", metavar="REFERENCE", help="for hashes (default: means of blocks)")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "torture", help="where the table is kept")
    parser.add_argument("--scratch", type=Path, help="where the stores go (default: the system's)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
