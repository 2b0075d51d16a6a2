"""What a worker sends is data: read without pickle and without waiting, and refused when it is anything else."""

import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest

from benchmarks.commands.interrupts import Interrupts
from benchmarks.plan.cells import Cost, Outcome
from benchmarks.run import process, watcher
from benchmarks.run.cell import read_outcome
from benchmarks.run.inbox import Inbox
from benchmarks.run.message import DONE, FAILED, PROGRESS, STARTED, decoded, encoded, record_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its pipes are read by messages, and it has no SIGHUP")
GOOD = Outcome("ok", "a note\n", np.full((3, 2), 0.5, np.float32), 0.25, 1.5, '{"k": 3}')


@pytest.mark.parametrize("content", [None, 3, 0.1, "é\ud800\n", [1, [2]], {"a": [None, True]}])
def test_plain_data_comes_back(content: object) -> None:
    assert decoded(encoded(PROGRESS, content)) == (PROGRESS, content)


def test_a_record_comes_back_to_the_last_bit() -> None:
    found = record_of(Outcome, decoded(encoded(DONE, GOOD))[1])
    assert found.proba.tobytes() == GOOD.proba.tobytes()
    assert np.isnan(found.inner_score)
    assert (found.message, found.fit_seconds, found.chosen) == (GOOD.message, 0.25, '{"k": 3}')
    assert record_of(Cost, decoded(encoded(DONE, Cost(memory_mb=3.5)))[1]).memory_mb == 3.5


class Runs:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def message(text: str, rest: bytes = b"") -> bytes:
    return text.encode() + b"\0" + rest


def binary(kind: str, shape: str, rest: bytes) -> bytes:
    return message(f'{{"kind": "done", "content": {{}}, "binary": {{"a": ["{kind}", {shape}]}}}}', rest)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nopes",
        b"\0" * 9,
        message("[]"),
        message("[" * 100_000),
        message('{"kind": "done", "content": 1}'),
        message('{"kind": "other", "content": 1, "binary": {}}'),
        message('{"kind": ["done"], "content": 1, "binary": {}}'),
        message('{"kind": "done", "content": 1, "binary": {"a": ["bytes", [0]]}}'),
        message('{"kind": "done", "content": 1' + "0" * 5000 + ', "binary": {}}'),
        b'{"kind": "done", "content": 1, "binary": {}}',
        binary("object", "[1]", b"12345678"),
        binary("float32", "[1, 1]", b"123"),
        binary("float32", "[1, 1]", b"12345"),
        binary("float32", "[-1, -1]", b"1234"),
        binary("float32", "[0, 99999999999999999999999]", b""),
        binary("float32", '["x"]', b""),
        binary("float32", "3", b""),
        binary("bytes", "[2.0]", b"12"),
    ],
)
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # of one kind only: the sentence is told of nobody
        decoded(content)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no message"):
        decoded(pickle.dumps(Runs(tmp_path / "ran")))
    with pytest.raises(TypeError, match="not JSON serializable"):
        encoded(DONE, {"result": Runs(tmp_path / "ran")})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"status": "splendid"}, "no outcome"),
        ({"fit_seconds": -1.0}, "no outcome"),
        ({"predict_ms": float("inf")}, "no outcome"),
        ({"fit_seconds": "1"}, "no valid fit_seconds"),
        ({"message": None}, "no valid message"),
        ({"more": 1}, "not the fields of Outcome"),
        ({"proba": [[0.5, 0.5]] * 3}, "no valid proba"),
        ({"proba": np.full((3, 2), np.nan, np.float32)}, "no probabilities"),
        ({"proba": np.full((3, 2), 0.6, np.float32)}, "no probabilities"),
        ({"proba": np.tile(np.float32([1.5, -0.5]), (3, 1))}, "no probabilities"),
        ({"proba": np.full((2, 2), 0.5, np.float32)}, "no probabilities"),
        ({"proba": np.full((3, 2), 0.5)}, "no probabilities"),
        ({"chosen": "[1]"}, "no settings"),
        ({"chosen": "{"}, "no settings"),
        ({"chosen": json.dumps({"a": "b" * 10_000})}, "no settings"),
        ({"inner_score": float("inf")}, "no settings"),
    ],
)
def test_an_outcome_is_checked_again(change: dict[str, object], sentence: str) -> None:
    content = vars(GOOD) | change
    with pytest.raises(ValueError, match=sentence):
        read_outcome(content, n_rows=3, n_classes=2, several=False)


def test_of_a_failure_only_its_sentence_is_kept() -> None:
    content = vars(GOOD) | {"status": "failed", "message": "\x1b[31m" + "x" * 10_000_000}
    found = read_outcome(content, n_rows=3, n_classes=2, several=False)
    assert (found.status, found.proba.size, len(found.message)) == ("failed", 0, 200)
    assert found.message.isprintable()


@pytest.mark.parametrize("rest", [b"", b"\0", b"\0\0\0\x05abcd"])
def test_a_part_of_a_message_is_not_waited_for(rest: bytes) -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        inbox = Inbox(ours, 100)
        theirs.send_bytes(b"whole")
        os.write(theirs.fileno(), rest)
        assert inbox.take() == b"whole"
        assert (inbox.take(), inbox.ready) == (None, False)
        theirs.close()
        with pytest.raises(EOFError):
            inbox.take()


@pytest.mark.parametrize("head", [struct.pack("!i", 101), struct.pack("!i", -5), struct.pack("!iQ", -1, 2**60)])
def test_a_message_that_is_too_large_is_refused_before_it_comes(head: bytes) -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        inbox = Inbox(ours, 100)
        theirs.send_bytes(b"x" * 100)
        os.write(theirs.fileno(), head)
        assert inbox.take() == b"x" * 100
        with pytest.raises(ValueError, match="a message of"):
            inbox.take()


class Alive:
    """A process that runs."""

    def is_alive(self) -> bool:
        return True


def test_reports_and_new_starts_do_not_lengthen_a_task(tmp_path: Path) -> None:
    ours, theirs = Pipe()
    with ours, theirs:
        one = process.WorkerProcess(Alive(), Inbox(ours, 1000), tmp_path, 0, time.monotonic() + 60)  # type: ignore[arg-type]
        late = (FAILED, "stopped: it ran longer than 2 s", True)

        def said(kind: str, content: object = None) -> object:
            theirs.send_bytes(encoded(kind, content))
            return process.heard(one, 2.0)

        refused = (FAILED, "its process sent what is no result", True)
        assert said(DONE, 3) == refused, "it has not begun"
        assert said(STARTED) == (STARTED, None, False)
        assert said(PROGRESS, [1, 2]) == (PROGRESS, [1, 2], False)
        assert said(PROGRESS, ["1", 2]) == said(FAILED, 3) == said(STARTED) == refused
        assert process.heard(one, 2.0) is None
        one.deadline = 0.0
        assert process.heard(one, 2.0) == said(PROGRESS, [1, 2]) == late
        assert said(DONE, 3) == (DONE, 3, False), "it was done in time, and is read late"


def test_a_temporary_folder_is_removed_however_deep_and_closed_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "worker"
    folder.mkdir()
    here = os.getcwd()
    os.chdir(folder)
    try:
        for _ in range(25):  # a path of 5,000 bytes, which no system takes
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
    finally:
        os.chdir(here)
    (folder / "file").write_text("x")
    (folder / "link").symlink_to(tmp_path)
    (folder / ("d" * 200)).chmod(0)
    watcher.remove(folder)
    assert not folder.exists()
    watcher.remove(folder)  # it is gone


STOPPED_AT_ONCE = """
import signal, sys, time
from pathlib import Path
from benchmarks.run import watcher

install = signal.signal
def installed(number, handler):
    install(number, handler)
    if callable(handler):
        signal.raise_signal(number)
signal.signal = installed
watcher.watched(lambda printed: time.sleep(60), lambda: None, Path(sys.argv[1]), None)
"""


def test_a_worker_that_is_stopped_as_it_starts_ends_without_a_word(tmp_path: Path) -> None:
    folder = tmp_path / "worker"
    folder.mkdir()
    command = [sys.executable, "-c", STOPPED_AT_ONCE, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stdout, result.stderr) == (-signal.SIGTERM, "", "")
    assert not folder.exists()


def test_one_press_is_obeyed_and_the_next_ones_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        interrupts = Interrupts()
        interrupts.install()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, "as nohup wants it"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert interrupts.number == signal.SIGTERM
        clock[0] = 5.1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert interrupts.number == signal.SIGINT
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
