"""What the two harnesses share: which commit on which machine, one job after another, and a result that is kept."""

import importlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def about(packages: Iterable[str], **more: Any) -> dict[str, Any]:
    """When, where and with what; a package that is not installed is left out."""
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    machine = f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GB"
    return {"at": at, "commit": _commit(), "machine": machine, "load": load(), "versions": versions, **more}


def load() -> str:
    """The machine's load over 1, 5 and 15 minutes."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def each(
    jobs: dict[str, str],
    names: Sequence[str],
    context: Any,
    *,
    failed: Callable[[str, str, float], Any],
    table: Callable[[list[Any]], str],
    minutes: float = float("inf"),
) -> list[Any]:
    """The rows of the jobs ``names``, printed as they come: a run that is stopped has not been for nothing.

    Parameters
    ----------
    jobs
        ``module:function`` of each; imported when it runs, called with ``context``, gives rows one after another.
    failed
        Makes a row of a job's name, what happened to it, and its seconds.
    minutes
        After so many no further job begins.
    """
    rows: list[Any] = []
    ends = time.monotonic() + minutes * 60

    def take(found: Any) -> None:
        rows.append(found)
        print(table([found]), file=sys.stderr, flush=True)

    for name in names:
        started = time.monotonic()
        if started > ends:
            take(failed(name, f"not begun: the {minutes:g} minutes were over", 0.0))
            continue
        module, _, function = jobs[name].partition(":")
        try:
            for row in getattr(importlib.import_module(module), function)(context):
                take(row)
        except Exception as error:  # the other jobs are worth having, and the row says what happened
            traceback.print_exc()
            take(failed(name, f"the job failed: {error!r}", time.monotonic() - started))
        except KeyboardInterrupt:
            take(failed(name, "stopped", time.monotonic() - started))
            break
        print(f"{name}: {time.monotonic() - started:.0f} s\n", file=sys.stderr, flush=True)
    return rows


def keep(text: str, save: Callable[[Path], None], about: dict[str, Any], folder: Path) -> None:
    """Print the whole table and keep it beside its JSON, named by when and by commit."""
    print(text)
    path = folder / f"{about['at'].replace(':', '')}-{about['commit']}.json"
    save(path)
    path.with_suffix(".txt").write_text(text + "\n", "utf-8")
    print(f"kept as {path}")


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
