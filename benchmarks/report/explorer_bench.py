"""Starts `benchmarks run --quick` in a process of its own for the explorer, and tells how far it is."""

import json
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from featurestore import FeatureStore, visible
from featurestore.errors import InputError, nearest

# How much of what the process printed is looked at: its last line.
TAIL = 4000
# Seconds that the process gets to store what it has and to end its workers.
END_SECONDS = 10.0
OWN = ("view", "label", "backbone")
# `-P`: a folder that is called `benchmarks` in the working directory is not this package.
COMMAND = ("-P", "-m", "benchmarks.commands.cli", "run", "--quick", "--json")


class StartedBench:
    """A process that runs the bench by ``command``; what it prints goes to files in a temporary folder."""

    def __init__(self, command: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="explorer-bench-")
        self._said, self._result = (Path(self._folder.name, name) for name in ("said", "result"))
        self._ended: dict[str, Any] | None = None
        with self._said.open("wb") as said, self._result.open("wb") as result:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=result, stderr=said)

    def answer(self) -> dict[str, Any]:
        """``state`` (running, done, failed), ``text`` for a person, ``run`` of one that is done, ``error``."""
        if self._ended is None:
            code, line = self.process.poll(), self._last_line()
            if code is None:
                return {"state": "running", "text": line or "starting", "run": None, "error": None}
            self._ended = self._failed(code, line) if code else self._done()
            self._folder.cleanup()
        return self._ended

    def end(self) -> None:
        """End the process; what it has stored stays."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._folder.cleanup()

    def _done(self) -> dict[str, Any]:
        (run,) = json.loads(self._result.read_bytes())["runs"]
        failed = f", {run['failed']} failed" if run["failed"] else ""
        text = f"{run['computed']} of {run['cells']} cells computed in {run['seconds']:.0f} s{failed}"
        return {"state": "done", "text": text, "run": run["run_id"], "error": None}

    def _failed(self, code: int, line: str) -> dict[str, Any]:
        error = line or f"the bench ended with the exit code {code}"
        return {"state": "failed", "text": error, "run": None, "error": error}

    def _last_line(self) -> str:
        with self._said.open("rb") as file:
            file.seek(max(0, self._said.stat().st_size - TAIL))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
        return visible(lines[-1]).removeprefix("benchmarks: ") if lines else ""


class ExplorerBench:
    """At most one such process for the explorer of ``store``; it ends with the program."""

    def __init__(self, store: FeatureStore) -> None:
        self._store = store
        self._started: StartedBench | None = None

    def start(self, sent: Mapping[str, Any]) -> dict[str, Any]:
        """Run every head over ``backbone`` on ``view``, by ``label``, once; answers as `progress`.

        Raises
        ------
        InputError
            When there is no such view, label or backbone, or a bench is running.
        """
        if self.progress({})["state"] == "running":
            raise InputError("a bench is running already: wait until it is done")
        self._check(sent)
        command = [
            sys.executable,
            *COMMAND,
            f"--store={self._store.location}",
            *(f"--{name}={sent[name]}" for name in OWN),
        ]
        self._started = StartedBench(command)
        weakref.finalize(self, self._started.end)
        return self._started.answer()

    def progress(self, _: Mapping[str, str]) -> dict[str, Any]:
        """How far the bench is that was started last; the page then asks for the newest state itself."""
        if self._started is None:
            return {"state": "idle", "text": "", "run": None, "error": None}
        return self._started.answer()

    def _check(self, sent: Mapping[str, Any]) -> None:
        for name in OWN:
            if not (isinstance(sent.get(name), str) and sent[name]):
                raise InputError(f"got no {name} to run the bench with: name view, label and backbone")
        with FeatureStore(self._store.location) as newest:  # the one shown keeps what it has in memory
            columns = newest.columns(sent["view"])
            known = {info.name for info in newest.backbones()}
            unknown = set(sent["backbone"].split("+")) - known
        if sent["label"] not in columns:
            near = nearest(sent["label"], columns)
            raise InputError(f"the view {sent['view']!r} has no column {sent['label'][:80]!r} ({near})")
        if unknown:
            raise InputError(f"the store has no backbone {min(unknown)[:80]!r} ({nearest(min(unknown), known)})")
