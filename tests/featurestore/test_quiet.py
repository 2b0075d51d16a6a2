"""What libraries print while a backbone is loaded stays off the terminal, unless it is asked for."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support import needs

from featurestore import FeatureStore
from featurestore.quiet import VERBOSE, aloud, muted

CHATTER = "XNNPACK delegate"


def printed(text: str) -> None:
    """Print as Python does, and as a library in C does."""
    print(text, file=sys.stderr)
    os.write(2, f"{text} from C\n".encode())


def test_stderr_is_discarded_within_and_back_after(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stderr
    with muted():
        printed("chatter")
        with muted():
            printed("more")
        with aloud():
            printed("a download")
        printed("chatter")
    assert sys.stderr is before
    printed("after")
    assert capfd.readouterr().err.split("\n")[:-1] == ["a download", "a download from C", "after", "after from C"]


def test_an_error_restores_it(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="x"), muted():
        raise ValueError("x")
    printed("after")
    assert "after from C" in capfd.readouterr().err


def test_the_last_thread_restores_it(capfd: pytest.CaptureFixture[str]) -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with muted():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(10)
    with muted():
        pass
    printed("still discarded")
    leave.set()
    thread.join()
    printed("after")
    assert capfd.readouterr().err.split("\n")[:-1] == ["after", "after from C"]


def test_verbose_shows_everything(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VERBOSE, "1")
    with muted():
        printed("chatter")
    assert "chatter from C" in capfd.readouterr().err


@pytest.mark.real
def test_embed_prints_no_line_of_litert(store: FeatureStore, real_data: Path) -> None:
    needs("ai_edge_litert")
    model = f"tflite:{real_data / 'mobilenet_v1_embedding.tflite'}"
    command = [sys.executable, "-m", "featurestore.commands.cli", "embed", "--store", store.path, "--backbone", model]
    without = {name: value for name, value in os.environ.items() if name != VERBOSE}
    quiet, loud = (
        subprocess.run([*command, *more], capture_output=True, text=True, check=True, env=without)
        for more in ([], ["--verbose"])
    )
    progress = "embed "  # a slow run tells how far it is
    assert [line for line in quiet.stderr.splitlines() if not line.startswith(progress)] == []
    assert CHATTER in loud.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_child_that_is_forked_within_prints_again(capfd: pytest.CaptureFixture[str]) -> None:
    inside, leave = threading.Event(), threading.Event()

    def load() -> None:
        with muted():
            inside.set()
            leave.wait(20)

    thread = threading.Thread(target=load)
    thread.start()
    assert inside.wait(20)
    child = os.fork()
    if child == 0:
        os.write(2, b"from the child\n")
        with muted():
            os.write(2, b"chatter\n")
        os.write(2, b"again\n")
        os._exit(0)
    os.waitpid(child, 0)
    leave.set()
    thread.join()
    assert capfd.readouterr().err == "from the child\nagain\n"
