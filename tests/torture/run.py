"""`make torture`: every fault done to every job for real; prints one table, keeps it as JSON, fails when one fails.

    python tests/torture/run.py [--quick] [--only JOB ...] [--moments N] [--seconds N] [--out DIR]

`--quick` is the short form that `make test` runs: the same code on fewer moments and seconds.
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
# The packages before the tests: folders of tests have their names.
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "helpers")]

from torture.context import Context  # noqa: E402
from torture.table import Row, render, save, table  # noqa: E402

# module:function; each takes the context and gives rows. They are imported when they run.
JOBS = {
    "kill": "kill:run",
    "disk": "disk:run",
    "damage": "damage:run",
    "load": "load:run",
    "determinism": "determinism:run",
    "inputs": "inputs:run",
}
OURS = ("numpy", "pyarrow", "duckdb", "deltalake", "scikit-learn", "pebble", "filelock")


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
        )
        about = _about(context)
        rows = run(options.only or list(JOBS), context)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    text = render(rows, about)
    print(text)
    name = f"{about['at'].replace(':', '')}-{about['commit']}"
    save(rows, about, options.out / f"{name}.json")
    (options.out / f"{name}.txt").write_text(text + "\n", "utf-8")
    print(f"kept as {options.out / name}.json")
    return int(any(row.outcome == "FAIL" for row in rows))


def run(names: list[str], context: Context) -> list[Row]:
    """The rows of these jobs; each is printed as it ends."""
    rows: list[Row] = []
    for name in names:
        module, _, function = JOBS[name].partition(":")
        started = time.monotonic()
        try:
            for row in getattr(importlib.import_module(f"torture.{module}"), function)(context):
                rows.append(row)
                # As they come: a run that is stopped has not been for nothing.
                print(table([row], head=False), file=sys.stderr, flush=True)
        except Exception as error:  # the other jobs are worth having, and the row fails
            traceback.print_exc()
            fault = f"the job itself failed: {error!r}"
            rows.append(Row(name, "the rest of it", 0, [fault], time.monotonic() - started))
        except KeyboardInterrupt:
            rows.append(Row(name, "the rest of it", 0, [], time.monotonic() - started, "stopped"))
            break
    return rows


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=JOBS, metavar="JOB", help=f"repeatable: {', '.join(JOBS)}")
    parser.add_argument("--quick", action="store_true", help="the short form")
    parser.add_argument("--moments", type=int, help="kills over all jobs (default 200)")
    parser.add_argument("--seconds", type=float, help="how long the load lasts (default 600)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random")
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "torture", help="where the table is kept")
    parser.add_argument("--scratch", type=Path, help="where the stores go (default: the system's)")
    return parser.parse_args()


def _about(context: Context) -> dict[str, Any]:
    """When, where and with what."""
    versions = {"python": platform.python_version()}
    for name in OURS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "commit": _commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GB, {platform.system()}",
        "seed": context.seed,
        "quick": context.quick,
        "versions": versions,
    }


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True).stdout.strip()

    return f"{git('rev-parse', '--short', 'HEAD') or 'none'}{'+' if git('status', '--porcelain', '-uno') else ''}"


if __name__ == "__main__":
    sys.exit(main())
