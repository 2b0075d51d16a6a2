"""A command of either program, run in this process or as a user does, with all that it prints."""

import io
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


def in_process(arguments: Sequence[str]) -> Done:
    """Run a command in this process, with all that it, or a library below Python, writes to the screen."""
    from benchmarks.commands.cli import cli as benchmarks
    from featurestore.commands.cli import cli as featurestore
    from featurestore.commands.options import run_command

    program = {"featurestore": featurestore, "benchmarks": benchmarks}[arguments[0]]
    before = sys.argv
    with _captured() as texts:
        sys.argv = list(arguments)
        try:
            code = run_command(program, arguments[0])
        except Exception:  # what would be a traceback on the screen
            traceback.print_exc()
            code = 1
        finally:
            sys.argv = before
    return Done(code, *texts)


@contextmanager
def _captured() -> Any:
    """Both streams into files, at the level of descriptors and of Python; filled when the block ends."""
    texts: list[str] = []
    saved = [(sys.stdout, os.dup(1)), (sys.stderr, os.dup(2))]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        streams = [
            io.TextIOWrapper(io.FileIO(os.dup(f.fileno()), "w"), "utf-8", write_through=True) for f in (out, err)
        ]
        for number, file in ((1, out), (2, err)):
            os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = streams
        try:
            yield texts
        finally:
            for stream in streams:
                stream.close()
            for number, (stream, descriptor) in enumerate(saved, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)
                setattr(sys, ("stdout", "stderr")[number - 1], stream)
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode("utf-8", "replace"))


def as_process(arguments: Sequence[str]) -> Done:
    """Run a command as a user does."""
    command = [sys.executable, "-m", f"{arguments[0]}.commands.cli", *arguments[1:]]
    found = subprocess.run(command, capture_output=True, timeout=300, check=False)
    return Done(found.returncode, found.stdout.decode("utf-8", "replace"), found.stderr.decode("utf-8", "replace"))
