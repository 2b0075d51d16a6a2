"""`make perf`: each job beside its rivals and its limit, in one run; prints one table, keeps it as JSON.

    python tests/perf/run.py [--quick | --whole] [--only JOB ...] [--out DIR] [--repeats N]
    python tests/perf/run.py --compare BEFORE.json AFTER.json
    python tests/perf/run.py --markdown KEPT.json

It asserts nothing: a missed goal is a row that says MISS.
"""

import argparse
import importlib
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from perf.context import Context  # noqa: E402
from perf.rivals import Rivals, install  # noqa: E402
from perf.table import Row, compare, markdown, render, save, table  # noqa: E402

# module:function in `jobs`; they are imported when they run.
JOBS = {
    "start": "start:run",
    "pull": "pull:run",
    "search": "search:run",
    "pairs": "search:pairs",
    "ingest": "ingest:run",
    "nothing-new": "embed:nothing_new",
    "embed": "embed:run",
    "finetune": "finetune:run",
    "bench": "bench:run",
    "growth": "growth:run",
}
OURS = ("numpy", "pyarrow", "duckdb", "deltalake", "tensorflow", "scikit-learn", "torch")


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
        about = _about(rivals)
        rows = _run(options.only or list(JOBS), context, minutes=options.minutes)
        about["load at the end"] = _load()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    text = render(rows, about)
    print(text)
    name = f"{about['at'].replace(':', '')}-{about['commit']}"
    save(rows, about, options.out / f"{name}.json")
    (options.out / f"{name}.txt").write_text(text + "\n", "utf-8")
    print(f"kept as {options.out / name}.json")


def _run(names: list[str], context: Context, *, minutes: float) -> list[Row]:
    rows: list[Row] = []
    ends = time.monotonic() + minutes * 60
    for name in names:
        started = time.monotonic()
        if started > ends:
            words = f"not begun: the {minutes:g} minutes were over"
            rows.append(Row(name, "all of it", "-", "limit", None, [], [], None, words))
            continue
        module, _, function = JOBS[name].partition(":")
        try:
            found = getattr(importlib.import_module(f"perf.jobs.{module}"), function)(context)
        except Exception as error:  # the other jobs are worth having, and the row says what happened
            traceback.print_exc()
            found = [Row(name, "all of it", "-", "limit", None, [], [], None, f"the job failed: {error}")]
        # As they come: a run that is stopped has not been for nothing.
        print(f"{name}: {time.monotonic() - started:.0f} s\n{table(found)}\n", file=sys.stderr, flush=True)
        rows += found
    return rows


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


def _about(rivals: Rivals) -> dict[str, Any]:
    """When, where and with what."""
    versions = {"python": platform.python_version()}
    for name in OURS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    versions |= {f"{name} (rival)": version for name, version in rivals.versions.items()}
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "commit": _commit(),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {_memory_gb():.0f} GB",
        "load": _load(),
        "versions": versions,
    }


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return f"{git('rev-parse', '--short', 'HEAD') or 'none'}{'+' if git('status', '--porcelain', '-uno') else ''}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _load() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


if __name__ == "__main__":
    main()
