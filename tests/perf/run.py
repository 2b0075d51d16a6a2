"""`make perf`: each job beside its rivals and its limit, in one run; prints one table, keeps it as JSON.

    python tests/perf/run.py [--quick | --whole] [--only JOB ...] [--out DIR] [--repeats N]
    python tests/perf/run.py --compare BEFORE.json AFTER.json
    python tests/perf/run.py --markdown KEPT.json

It asserts nothing: a missed goal is a row that says MISS.
"""

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "helpers")]

import harness  # noqa: E402

from perf.context import Context  # noqa: E402
from perf.rivals import Rivals, install  # noqa: E402
from perf.table import Row, compare, markdown, render, save, table  # noqa: E402

JOBS = {
    "start": "perf.jobs.start:run",
    "pull": "perf.jobs.pull:run",
    "subset": "perf.jobs.subset:run",
    "search": "perf.jobs.search:run",
    "pairs": "perf.jobs.search:pairs",
    "ingest": "perf.jobs.ingest:run",
    "collection": "perf.jobs.collection:run",
    "nothing-new": "perf.jobs.embed:nothing_new",
    "embed": "perf.jobs.embed:run",
    "engines": "perf.jobs.engines:run",
    "feed": "perf.jobs.feed:run",
    "descriptors": "perf.jobs.feed:descriptors",
    "finetune": "perf.jobs.finetune:run",
    "bench": "perf.jobs.bench:run",
    "cluster": "perf.jobs.cluster:run",
    "growth": "perf.jobs.growth:run",
}
PACKAGES = (
    "numpy",
    "pyarrow",
    "duckdb",
    "deltalake",
    "tensorflow",
    "openvino",
    "simsimd",
    "ai-edge-litert",
    "scikit-learn",
    "torch",
    "ray",
)


def main() -> None:
    """Measure, print and keep."""
    options = _options()
    if options.compare:
        print(compare(*options.compare))
        return
    if options.markdown:
        print(markdown(options.markdown))
        return
    # A folder without a colon or a blank: some libraries take paths for addresses.
    scratch = Path(tempfile.mkdtemp(prefix="perf-", dir=options.scratch))
    try:
        rivals = Rivals(Path()) if options.no_rivals else install(options.out / "rivals")
        context = Context(
            quick=options.quick,
            whole=options.whole,
            repeats=options.repeats or (2 if options.quick else 5),
            scratch=scratch,
            kept=options.out / "models",
            rivals=rivals,
            real=options.real,
        )
        about = harness.about(PACKAGES)
        about["versions"] |= {f"{name} (rival)": version for name, version in rivals.versions.items()}
        names, told = options.only or list(JOBS), partial(table, head=False)
        rows = harness.each(JOBS, names, context, failed=_failed, table=told, minutes=options.minutes)
        about["load at the end"] = harness.load()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    harness.keep(render(rows, about), lambda path: save(rows, about, path), about, options.out)


def _failed(name: str, words: str, _: float) -> Row:
    return Row(name, "all of it", "-", "limit", None, [], [], None, words)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=JOBS, metavar="JOB", help=f"repeatable: {', '.join(JOBS)}")
    parser.add_argument("--quick", action="store_true", help="little data: does it work?")
    parser.add_argument("--whole", action="store_true", help="scale up only the slowest rivals: an hour and more")
    parser.add_argument("--repeats", type=int, help="rounds of each race (default 5)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no job after so many")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "perf", help="results, models and rivals")
    parser.add_argument("--real", type=Path, default=ROOT.parent / "shared" / "data", help="real posters and table")
    parser.add_argument("--scratch", type=Path, help="where generated data goes, 6 GB (default: the system's)")
    parser.add_argument("--no-rivals", action="store_true", help="don't install or run them")
    parser.add_argument("--compare", nargs=2, type=Path, metavar="JSON", help="two kept results")
    parser.add_argument("--markdown", type=Path, metavar="JSON", help="a kept result as a table for a page")
    return parser.parse_args()


if __name__ == "__main__":
    main()
