"""The folder of a run on a node of a cluster: files are written once a node, and removed when the last user ends."""

import contextlib
import hashlib
import multiprocessing
import os
import platform
import shutil
import signal
import stat
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from benchmarks.run.process import context_of, one_thread_each
from benchmarks.run.sent import SentDataset
from featurestore.errors import ClusterError, reason
from featurestore.files import atomic_file, write_atomic
from featurestore.system import is_owners_alone

# How long a process waits for another one of the same node to write a matrix.
WAIT_SECONDS = 300.0
ARRAYS = ("groups", "y", "X")  # in the order in which they are written: the last one stands for all


@dataclass(frozen=True, eq=False)
class NodeFolder:
    """A run's folder on this node, claimed by this process.

    Parameters
    ----------
    claim
        A lock of this process on a file of its own in the folder.
    remover
        A process that removes the folder when the claims of all processes have ended.
    """

    path: Path
    claim: FileLock
    remover: Any

    def keep(self, data: SentDataset) -> None:
        """Write the arrays of a dataset, unless a process of this node has done so.

        Raises
        ------
        ClusterError
            When the disk refuses.
        """
        paths = {name: array_path(self.path, data.name, name) for name in ARRAYS}
        if paths["X"].exists():
            return
        with _refused(self.path), _guard(self.path):
            if not paths["X"].exists():
                for name, path in paths.items():
                    with atomic_file(path, sync=False) as file:
                        np.save(file, getattr(data, name), allow_pickle=False)

    def keep_source(self, source: bytes) -> str:
        """Write the Python file of a head under the name of its hash; the path."""
        path = self.path / f"{hashlib.sha256(source).hexdigest()}.py"
        with _refused(self.path):
            if not path.exists():
                write_atomic(path, source, sync=False)
        return str(path)


def array_path(folder: Path, data: str, name: str) -> Path:
    """The ``.npy`` file of one of `ARRAYS`."""
    return folder / f"{data}-{name}.npy"


def claimed(run: str) -> NodeFolder:
    """The folder of the run on this node, made where it is missing; it stays until this process has ended.

    Raises
    ------
    ClusterError
        When it can't be made, or its place belongs to someone else.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    base = Path(tempfile.gettempdir(), f"benchmarks-{user}")
    path = base / run
    with _refused(path):
        with contextlib.suppress(FileExistsError):
            base.mkdir(mode=0o700)
        _refuse_foreign(base)
    claim = FileLock(path / f"{uuid.uuid4().hex}.lock", timeout=0)
    # First: it takes seconds to start, in which this process may be killed.
    remover = context_of(forked=True).Process(target=_remove_later, args=(Path(claim.lock_file),), daemon=True)
    with one_thread_each():
        remover.start()
    with _refused(path), _guard(path):
        for other in base.iterdir():  # of machines that lost their power
            _remove_unclaimed(other)
        path.mkdir(exist_ok=True)
        claim.acquire()
    return NodeFolder(path, claim, remover)


def _refuse_foreign(base: Path) -> None:
    """Refuse a folder in which somebody else could put files: heads are run from there."""
    found = base.lstat()
    if not (stat.S_ISDIR(found.st_mode) and is_owners_alone(found)):
        raise ClusterError(f"{str(base)!r} on the node {platform.node()!r} is not this user's alone: remove it")


@contextlib.contextmanager
def _refused(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, Timeout) as error:
        raise ClusterError(
            f"the node {platform.node()!r} can't keep the matrix in {str(path)!r} ({reason(error)}): free space there, "
            "or start its Ray with another TMPDIR"
        ) from error


def _guard(path: Path) -> FileLock:
    """Held by who makes, fills or removes a run's folder."""
    return FileLock(path.parent / "lock", timeout=WAIT_SECONDS)


def _remove_later(claim: Path) -> None:
    """Wait until the process that holds ``claim`` ends, however that is; then remove the folder if it was the last."""
    if hasattr(os, "setsid"):
        os.setsid()  # out of reach of what ends that process's group
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # At a normal end that process stops this one, and waits for it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())
    user = multiprocessing.parent_process()
    try:
        if user is not None:
            user.join()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with contextlib.suppress(OSError, Timeout), _guard(claim.parent):
            claim.unlink(missing_ok=True)
            _remove_unclaimed(claim.parent)


def _remove_unclaimed(folder: Path) -> None:
    """Remove a run's folder that no living process has claimed; the guard must be held."""
    if folder.is_dir() and not any(_is_held(path) for path in folder.glob("*.lock")):
        shutil.rmtree(folder, ignore_errors=True)


def _is_held(path: Path) -> bool:
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
