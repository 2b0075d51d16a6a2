"""The failing layer under a process: `faults.c`, compiled where there is a compiler, and the variables that set it."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
KILL = "kill"


@dataclass(frozen=True)
class Call:
    """One call that changed a file: ``open``, ``write``, ``fsync``, ``rename`` …, and the path below the store."""

    name: str
    path: str


def build(folder: Path) -> Path | None:
    """The compiled layer in ``folder``; None where there is no C compiler or no LD_PRELOAD."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or os.uname().sysname != "Linux":
        return None
    library = folder / "faults.so"
    if not library.exists():
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True)
    return library


def environment(
    library: Path, root: Path, *, log: Path, at: int = 0, action: str | int = KILL, sticky: bool = False
) -> Mapping[str, str]:
    """Variables under which the ``at``-th call below ``root`` kills, or fails with the error number ``action``."""
    return {
        "LD_PRELOAD": str(library),
        "TORTURE_ROOT": str(root.resolve()),
        "TORTURE_LOG": str(log),
        "TORTURE_AT": str(at),
        "TORTURE_ACTION": str(action),
        "TORTURE_STICKY": "1" if sticky else "0",
    }


def calls(log: Path) -> list[Call]:
    """What the layer saw, in order."""
    if not log.is_file():
        return []
    lines = (line.split(" ", 2) for line in log.read_text("utf-8").splitlines())
    return [Call(name, path) for _, name, path in lines]
