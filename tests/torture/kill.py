"""Kill -9 in the middle of each job: at calls that change a file, and at any time; then all must be as before."""

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from featurestore.storage.state import STATE_FILE, State, parse_state, read_state
from torture import bed as beds
from torture import content as contents
from torture import shim
from torture.bed import BATCH, CHECKED, Bed
from torture.content import Content
from torture.context import Context, spread
from torture.jobs import JOBS, Job
from torture.table import Row

# One moment in so many is a time instead of a call.
TIMED = 5
SHORT = ("ingest, first", "embed", "import-embeddings", "compact", "bench")


@dataclass(frozen=True)
class Undisturbed:
    """The same command without a fault: what it leaves, its calls, its forward passes, its seconds."""

    content: Content
    calls: list[shim.Call]
    passes: int
    seconds: float


@dataclass(frozen=True)
class Moment:
    """When to kill: before the ``call``-th call, or ``after`` seconds from the command's start."""

    call: int = 0
    after: float = 0.0

    def __str__(self) -> str:
        return f"call {self.call}" if self.call else f"{self.after:.2f} s"


def run(context: Context) -> Iterator[Row]:
    """A row a job and kind of moment, as they end."""
    library = context.library()
    bed = context.bed("kill")
    jobs = [job for job in JOBS if not context.quick or job.name in SHORT]
    share = max(1, context.moments // len(jobs))
    for job in jobs:
        yield from _job(context, bed, job, library, share)
    if not context.quick:
        yield _orphans(context, bed)


def _job(context: Context, bed: Bed, job: Job, library: Path | None, count: int) -> Iterator[Row]:
    numbers = context.random(job.name)
    usual = undisturbed(bed, job, library)
    timed = count if library is None else count // TIMED
    if library is not None:
        places = spread(len(usual.calls), count - timed, numbers)
        what = f"kill -9 at one of {len(usual.calls)} calls that change a file"
        yield _row(context, bed, job, usual, library, [Moment(call=place) for place in places], what)
    times = [Moment(after=usual.seconds * (place + numbers.random()) / timed) for place in range(timed)]
    if times:
        yield _row(context, bed, job, usual, None, times, "kill -9 at any time")


def _row(
    context: Context,
    bed: Bed,
    job: Job,
    usual: Undisturbed,
    library: Path | None,
    moments: list[Moment],
    what: str,
) -> Row:
    started = time.monotonic()
    found = context.each(lambda moment: disturb(bed, job, usual, moment, library), moments)
    faults = [f"{moment}: {fault}" for moment, (_, some) in zip(moments, found, strict=True) for fault in some]
    killed = sum(was for was, _ in found)
    late = len(moments) - killed
    note = f"content hash {contents.digest(usual.content)}" + (f"; {late} had ended before" if late else "")
    return Row(job.name, what, killed, faults, time.monotonic() - started, note)


def undisturbed(bed: Bed, job: Job, library: Path | None) -> Undisturbed:
    """Run the job once without a fault.

    Raises
    ------
    RuntimeError
        When it fails even so.
    """
    root = job.store(bed)
    log, counted, mark = (beds.unique(bed.folder / "logs", name) for name in ("calls", "passes", "started"))
    environment = {"TORTURE_STARTED": str(mark)}
    if library is not None:
        environment |= shim.environment(library, root, log=log)
    done = bed.run(job.arguments(bed, root), passes=counted, environment=environment)
    if done.code:
        raise RuntimeError(f"{job.name} fails without a fault: {done.err}")
    seconds = time.time() - mark.stat().st_mtime
    return Undisturbed(contents.whole(root), shim.calls(log), beds.passes(counted), seconds)


def disturb(bed: Bed, job: Job, usual: Undisturbed, moment: Moment, library: Path | None) -> tuple[bool, list[str]]:
    """Kill the job at ``moment``, look at the store, run the job again; whether it was killed, and what is wrong."""
    root = job.store(bed)
    before = contents.whole(root) if (root / STATE_FILE).is_file() else None
    counted = beds.unique(bed.folder / "logs", "passes")
    killed, seen = _killed(bed, job, root, moment, library, counted)
    faults = _after_kill(root, job, usual, before, seen)
    stored, state = _stored_cells(root), _read_or_none(root / STATE_FILE)
    if not (job.done and (root / job.done).is_file()):
        done = bed.run(job.arguments(bed, root), passes=counted)
        faults += [f"run again: {fault}" for fault in done.faults(failed=False)]
        if job.name == "bench" and not done.code:
            computed = json.loads(done.out)["runs"][0]["computed"]
            if computed + stored != json.loads(done.out)["runs"][0]["cells"]:
                faults.append(f"{stored} cells were stored, yet {computed} were computed again")
    twice = beds.passes(counted) - usual.passes
    lost = 2 * BATCH + CHECKED  # one batch in the network, one that is being staged
    if twice > lost:
        faults.append(f"{twice} images computed twice, at most {lost} may be")
    difference = beds.compared(usual.content, contents.whole(root))
    if difference:
        faults.append(f"in the end {difference}")
    # A bench that finds every cell stored only reads: the next writer updates store.duckdb, here `gc`.
    if job.locks or _read_or_none(root / STATE_FILE) != state:
        faults += beds.shell_faults(root)
    return killed, faults + beds.tidy_faults(root)


def _killed(
    bed: Bed, job: Job, root: Path, moment: Moment, library: Path | None, counted: Path
) -> tuple[bool, State | None]:
    """Start the job and kill it; whether that came before its end, and the last state that a reader saw of it."""
    mark = beds.unique(bed.folder / "logs", "started")
    environment = {"TORTURE_STARTED": str(mark)}
    if moment.call and library is not None:
        log = beds.unique(bed.folder / "logs", "calls")
        environment |= shim.environment(library, root, log=log, at=moment.call)
    seen: list[bytes] = []
    with bed.start(job.arguments(bed, root), passes=counted, environment=environment) as process:
        watcher = threading.Thread(target=_watch, args=(process, root / STATE_FILE, seen))
        watcher.start()
        if not moment.call:
            while not mark.exists() and process.poll() is None:
                time.sleep(0.002)
            time.sleep(moment.after)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=beds.TIMEOUT)
        watcher.join()
    return process.returncode == -signal.SIGKILL, parse_state(seen[-1], "state") if seen else None


def _watch(process: "subprocess.Popen[str]", path: Path, seen: list[bytes]) -> None:
    """Keep the newest state while the process lives: what a reader has seen must not be taken back."""
    while process.poll() is None:
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            text = b""
        if text and seen[-1:] != [text]:
            seen.append(text)
        time.sleep(0.002)


def _after_kill(root: Path, job: Job, usual: Undisturbed, before: Content | None, seen: State | None) -> list[str]:
    if not (root / STATE_FILE).is_file():
        return ["the store is gone"] if before is not None or seen is not None else []
    faults = [f"after the kill: {fault}" for fault in beds.faults_of(root)]
    now = contents.whole(root)
    if before is not None and job.replaces:
        if now not in (before, usual.content):
            faults.append("after the kill the store is neither the old nor the new one")
    elif before is not None and contents.lost(before, now):
        faults.append(f"committed rows are lost: {contents.lost(before, now)}")
    if seen is not None and read_state(root).number < seen.number:
        faults.append("a state that a reader saw is taken back")
    # Where rows are dropped on purpose, those of an earlier state may be lost, and its files be removed.
    if seen is not None and not job.replaces and contents.lost(contents.content(root, seen), now):
        faults.append(f"rows that a reader saw are lost: {contents.lost(contents.content(root, seen), now)}")
    return faults


def _read_or_none(path: Path) -> bytes | None:
    """The bytes of ``path``, None where there is no file."""
    return path.read_bytes() if path.is_file() else None


def _stored_cells(root: Path) -> int:
    if not (root / STATE_FILE).is_file():
        return 0
    return len({json.loads(row)["cell"] for row in contents.content(root).get("bench_cells", ())})


def _orphans(context: Context, bed: Bed) -> Row:
    """The bench's own process is killed, its workers are not: they must end by themselves."""
    job = next(job for job in JOBS if job.name == "bench")
    started, faults, count = time.monotonic(), [], 4
    usual = undisturbed(bed, job, None)
    numbers: random.Random = context.random("orphans")
    for _ in range(count):
        root, mark = job.store(bed), beds.unique(bed.folder / "logs", "started")
        with bed.start(job.arguments(bed, root), environment={"TORTURE_STARTED": str(mark)}) as process:
            while not mark.exists() and process.poll() is None:
                time.sleep(0.002)
            time.sleep(usual.seconds * numbers.uniform(0.3, 0.9))
            process.kill()
            process.wait()
            if not beds.group_is_gone(process.pid, seconds=20):
                faults.append("a worker outlived the bench by 20 s")
    return Row("bench", "kill -9 of its main process alone", count, faults, time.monotonic() - started)
