"""A disk that is full or fails at any write, a folder that can't be written or read: old state whole, one sentence."""

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from featurestore.storage.state import STATE_FILE
from torture import bed as beds
from torture import content as contents
from torture import shim
from torture.bed import Bed, Done
from torture.content import Content
from torture.context import Context, spread
from torture.jobs import JOBS, Job
from torture.kill import Undisturbed, undisturbed
from torture.table import Row

NOBODY = 65534
# The commands that only read; each must answer where nothing can be written.
READS = (
    ("sql", "SELECT count(*) FROM labeled_counting", "--format", "csv"),
    ("info",),
    ("verify",),
    ("similar", "--backbone", "counting", "--id", "110", "-k", "3"),
    ("quality",),
    ("lineage", "110"),
    ("snapshot", "list"),
)


@dataclass(frozen=True)
class Failure:
    """Which call fails, and how: once, or from there on as on a full disk."""

    call: int
    error: int
    sticky: bool


def run(context: Context) -> Iterator[Row]:
    """A row a job and kind of failure, as they end."""
    bed = context.bed("disk")
    library = context.library()
    for job in JOBS if not context.quick else [job for job in JOBS if job.name == "embed"]:
        yield from _failing(context, bed, job, library)
    yield from _small_disk(context, bed)
    yield from _forbidden(context, bed)


def _failing(context: Context, bed: Bed, job: Job, library: Path | None) -> Iterator[Row]:
    kinds = (("EIO at one of {} calls", errno.EIO, False), ("disk full from one of {} calls on", errno.ENOSPC, True))
    if library is None:
        note = "no C compiler, so no failing layer"
        yield from (Row(job.name, what.format("n"), 0, [], 0.0, note) for what, _, _ in kinds)
        return
    usual = undisturbed(bed, job, library)
    for what, error, sticky in kinds:
        started = time.monotonic()
        places = spread(len(usual.calls), context.size(16, 1), context.random(f"{job.name} {error}"))
        failures = [Failure(place, error, sticky) for place in places]
        found = context.each(lambda failure: fail(bed, job, usual, failure, library), failures)
        faults = [
            f"call {failure.call} ({usual.calls[failure.call - 1].name} {usual.calls[failure.call - 1].path}): {fault}"
            for failure, some in zip(failures, found, strict=True)
            for fault in some
        ]
        words = what.format(len(usual.calls))
        yield Row(job.name, words, len(failures), faults, time.monotonic() - started)


def fail(bed: Bed, job: Job, usual: Undisturbed, failure: Failure, library: Path) -> list[str]:
    """Run the job with one failing call, look at the store, run it again without."""
    root = job.store(bed)
    before = contents.whole(root) if (root / STATE_FILE).is_file() else None
    log, counted = beds.unique(bed.folder / "logs", "calls"), beds.unique(bed.folder / "logs", "passes")
    environment = shim.environment(library, root, log=log, at=failure.call, action=failure.error, sticky=failure.sticky)
    done = bed.run(job.arguments(bed, root), passes=counted, environment=environment)
    faults = _told(done) + after_failure(root, job, before, usual.content)
    return faults + again(bed, job, root, usual.content, counted)


def _told(done: Done) -> list[str]:
    """A failed command gives one sentence; one that could do without the call may add a warning."""
    if done.code:
        return done.faults(failed=True)
    return [f"a traceback: {done.err}"] if "Traceback" in done.err else []


def after_failure(root: Path, job: Job, before: Content | None, usual: Content) -> list[str]:
    """What is wrong with the store behind a failed command: every commit must be there whole."""
    if not (root / STATE_FILE).is_file():
        return ["the store is gone"] if before is not None else []
    faults = [f"after it: {fault}" for fault in beds.faults_of(root)]
    now = contents.whole(root)
    if before is not None and job.replaces:
        return faults if now in (before, usual) else [*faults, "the store is neither the old nor the new one"]
    if before is not None and contents.lost(before, now):
        faults.append(f"committed rows are lost: {contents.lost(before, now)}")
    if contents.lost(now, usual):
        faults.append(f"rows that should not be there: {contents.lost(now, usual)}")
    return faults


def again(bed: Bed, job: Job, root: Path, usual: Content, counted: Path | None = None) -> list[str]:
    """What is wrong when the same command runs without a failure, and behind it."""
    faults = []
    state = (root / STATE_FILE).read_bytes() if (root / STATE_FILE).is_file() else None
    if not (job.done and (root / job.done).is_file()):
        done = bed.run(job.arguments(bed, root), passes=counted)
        faults += [f"run again: {fault}" for fault in done.faults(failed=False)]
    difference = beds.compared(usual, contents.whole(root))
    if difference:
        faults.append(f"in the end {difference}")
    # A bench that finds every cell stored only reads: the next writer updates store.duckdb.
    if job.locks or (root / STATE_FILE).read_bytes() != state:
        faults += beds.shell_faults(root)
    return faults + beds.tidy_faults(root)


def _small_disk(context: Context, bed: Bed) -> Iterator[Row]:
    """A real file system that fills up: a tmpfs with so much room left."""
    for job in JOBS if not context.quick else [job for job in JOBS if job.name == "import-embeddings"]:
        started, faults, failed = time.monotonic(), [], 0
        usual = undisturbed(bed, job, None)
        rooms = [round(4096 * 2**step) for step in range(0, 8, context.size(1, 4))]
        with mounted(beds.unique(bed.folder, "full")) as folder:
            if folder is None:
                yield Row(job.name, "a full tmpfs", 0, [], 0.0, "not root, so no tmpfs")
                continue
            for room in rooms:
                root = folder / f"store-{room}"
                shutil.copytree(job.store(bed), root)
                before = contents.whole(root) if (root / STATE_FILE).is_file() else None
                ballast = _fill(folder, room)
                done = bed.run(job.arguments(bed, root))
                failed += done.code != 0
                found = _told(done) + after_failure(root, job, before, usual.content)
                ballast.unlink()
                found += again(bed, job, root, usual.content)
                faults += [f"{room} bytes left: {fault}" for fault in found]
                shutil.rmtree(root)
        note = f"{rooms[0]} to {rooms[-1]} bytes left; {failed} of {len(rooms)} did not do"
        yield Row(job.name, "a full tmpfs", len(rooms), faults, time.monotonic() - started, note)


@contextmanager
def mounted(folder: Path, *, megabytes: int = 16) -> Iterator[Path | None]:
    """A small tmpfs in ``folder``; None where this process may not mount."""
    folder.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs"]
    if os.geteuid() != 0 or subprocess.run(["mount", *options, str(folder)], capture_output=True).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _fill(folder: Path, room: int) -> Path:
    """A file that takes all but ``room`` bytes."""
    ballast = folder / "ballast"
    space = os.statvfs(folder)
    with ballast.open("wb") as file:
        file.write(bytes(max(0, space.f_bavail * space.f_frsize - room)))
    return ballast


def _forbidden(context: Context, bed: Bed) -> Iterator[Row]:
    """A file system mounted read-only, files that another user owns, files that nobody else may read."""
    with mounted(beds.unique(bed.folder, "read-only")) as folder:
        if folder is None:
            yield Row("all", "a read-only file system, another user's files", 0, [], 0.0, "not root")
            return
        stores = {job.name: folder / f"store-{number}" for number, job in enumerate(JOBS)}
        for job in JOBS:
            shutil.copytree(job.store(bed), stores[job.name])
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        yield from _denied(context, bed, stores, "a read-only file system", ())
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
        other = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        if shutil.which("setpriv") is None or subprocess.run([*other, "true"], capture_output=True).returncode:
            yield Row("all", "files of another user", 0, [], 0.0, "no setpriv")
            return
        with _open_path(bed.folder, folder):
            yield from _denied(context, bed, stores, "files of another user", other)
            yield _unreadable(context, bed, stores["embed"], other)


@contextmanager
def _open_path(*folders: Path) -> Iterator[None]:
    """Let other users reach the folders: temporary ones are made for their owner alone."""
    above = {parent for folder in folders for parent in (folder, *folder.parents) if parent.stat().st_mode & 0o5 != 0o5}
    modes = {path: path.stat().st_mode for path in above}
    for path in above:
        path.chmod(modes[path] | 0o005)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def _denied(
    context: Context, bed: Bed, stores: Mapping[str, Path], what: str, prefix: tuple[str, ...]
) -> Iterator[Row]:
    jobs = [job for job in JOBS if not context.quick or job.name in ("ingest, first", "compact")]
    started, faults = time.monotonic(), []
    home = {"HOME": "/nonexistent", "TMPDIR": "/tmp"} if prefix else {}
    for job in jobs:
        root = stores[job.name]
        before = _bytes(root)
        done = bed.run(job.arguments(bed, root), prefix=prefix, environment=home)
        faults += [f"{job.name}: {fault}" for fault in done.faults(failed=True)]
        if _bytes(root) != before:
            faults.append(f"{job.name}: the folder has changed")
    yield Row("commands that write", what, len(jobs), faults, time.monotonic() - started)
    started, faults = time.monotonic(), []
    # `sql` starts a process, which that user can't where Python lies in a folder of ours.
    starts = not prefix or _starts_python(prefix)
    reads = [read for read in READS[:: context.size(1, 3)] if starts or read[0] != "sql"]
    for read in reads:
        command = ["featurestore", read[0], *_placed(read[1:], stores["compact"])]
        faults += [
            f"{read[0]}: {fault}" for fault in bed.run(command, prefix=prefix, environment=home).faults(failed=False)
        ]
    note = "" if starts else "without sql: that user can't start Python here"
    yield Row("commands that read", what, len(reads), faults, time.monotonic() - started, note)


def _starts_python(prefix: tuple[str, ...]) -> bool:
    """Whether a process of the other user can start one more."""
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    return subprocess.run([*prefix, sys.executable, "-c", code], capture_output=True).returncode == 0


def _placed(arguments: tuple[str, ...], root: Path) -> list[str]:
    """The arguments with ``--store``, behind the name of a subcommand."""
    if arguments[:1] == ("list",):
        return ["list", "--store", str(root)]
    return ["--store", str(root), *arguments]


def _unreadable(context: Context, bed: Bed, root: Path, prefix: tuple[str, ...]) -> Row:
    """Every file in turn is one that its user may not read, then every folder."""
    started, faults = time.monotonic(), []
    embedded = bed.store("embedded", bed.embedded)
    target = root.parent / "unreadable"
    shutil.copytree(embedded, target)
    home = {"HOME": "/nonexistent", "TMPDIR": "/tmp"}
    command = ["featurestore", "info", "--store", target]
    parts = sorted(target.rglob("part-*.parquet"))[:: context.size(1, 9)]
    count = 0
    for path in [target, target / STATE_FILE, target / "cache", *parts]:
        mode = path.stat().st_mode
        path.chmod(0)
        try:
            done = bed.run(command, prefix=prefix, environment=home)
        finally:
            path.chmod(mode)
        count += 1
        # The cache is disposable, and `info` reads no vectors: then there is nothing to complain of.
        faults += [f"{path.relative_to(root.parent)}: {fault}" for fault in _told(done)]
    return Row("info", "one file or folder without permission", count, faults, time.monotonic() - started)


def _bytes(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
