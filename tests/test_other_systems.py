"""Both packages work where what only Linux, or only Unix, has is missing: see `other_system/sitecustomize.py`.

It is no substitute for a run on those systems: file systems, libraries and processes stay those of this machine.
"""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest
from support import Collection

from featurestore import FeatureStore, system, terminal
from featurestore.collections.stored_paths import with_slashes
from featurestore.errors import InputError

ROOT = Path(__file__).resolve().parents[1]
SIMULATION = ROOT / "tests/helpers/other_system"
# What a first session does, and what writes, replaces, locks, moves or removes files or starts processes.
SESSION = """\
featurestore ingest --metadata MovieGenre.csv --images posters
featurestore embed --backbone descriptors
featurestore sql "SELECT 'naïve ≈ 東京' AS text, count(*) FROM labeled"
featurestore similar --backbone descriptors --id 101 --html near.html
featurestore view create bands --sql bands.sql
featurestore snapshot create before
featurestore export --backbone descriptors -o vectors.npz
featurestore export --backbone descriptors --format bundle -o posters.bundle
featurestore export --backbone descriptors --format bundle -o posters.bundle --force
featurestore import-embeddings vectors.npz --backbone theirs
featurestore embed --backbone descriptors --shard 1/1 --out shards
featurestore publish shards
featurestore label correct 101 --to Crime
featurestore backbone remove theirs
benchmarks run --head majority --head ridge --protocol study --quick --workers 1
benchmarks report -o report.html
featurestore verify
featurestore compact
featurestore snapshot remove before
featurestore gc --older-than 0
featurestore repair
featurestore info
"""
# The usual encoding of a pipe on Windows lacks most characters; here it is ASCII.
OLD_ENCODING = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def simulated(name: str, commands: str, folder: Path) -> str:
    """What a process prints that shows our packages the system ``name``."""
    paths = os.pathsep.join([str(SIMULATION), str(ROOT)])
    environment = {**os.environ, "SIMULATED": name, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    environment |= OLD_ENCODING if name == "windows" else {}
    environment.pop("FEATURESTORE_STORE", None)
    (folder / "commands").write_text(commands, "utf-8")
    program = [sys.executable, str(SIMULATION / "jobs.py"), "commands"]
    done = subprocess.run(program, cwd=folder, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done.stdout.decode()


@pytest.mark.parametrize("name", ["windows", pytest.param("macos", marks=pytest.mark.slow)])
def test_a_session(name: str, tmp_path: Path) -> None:
    Collection(tmp_path, 24)
    (tmp_path / "bands.sql").write_text("SELECT ImgId, IMDBScore < 7 AS low FROM collection", "utf-8")
    said = simulated(name, SESSION, tmp_path)
    assert "naïve ≈ 東京" in said
    assert "2 of 2 cells computed" in said
    assert "failed" not in said
    assert not list((tmp_path / "store").rglob("*.tmp"))


def test_text_files_are_opened_with_their_encoding() -> None:
    command = ["ruff", "check", "--quiet", "--preview", "--select", "PLW1514", "featurestore", "benchmarks"]
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules of `system` for Windows, with a short patience."""
    monkeypatch.setattr(system, "WINDOWS", True)
    monkeypatch.setattr(system, "PATIENCE", 0.1)


def refused(times: int) -> Callable[..., None]:
    """What raises PermissionError so many times, then does nothing."""
    left = iter(range(times))

    def refuse(*_: object, **__: object) -> None:
        for _turn in left:
            raise PermissionError("it is open")

    return refuse


@pytest.mark.usefixtures("windows")
def test_a_file_that_is_open_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "replace", refused(2))
    system.replace(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(os, "replace", refused(1000))
    with pytest.raises(PermissionError):
        system.replace(tmp_path / "a", tmp_path / "b")
    monkeypatch.setattr(Path, "unlink", refused(2))
    assert not system.remove_unless_open(tmp_path / "a")
    system.remove(tmp_path / "a")
    monkeypatch.setattr(system, "WINDOWS", False)
    monkeypatch.setattr(Path, "unlink", refused(2))
    with pytest.raises(PermissionError):
        system.remove_unless_open(tmp_path / "a")


@pytest.mark.parametrize("on_windows", [False, True])
def test_a_folder_that_was_replaced_is_noticed(
    on_windows: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(system, "WINDOWS", on_windows)
    folder = tmp_path / "folder"
    folder.mkdir()
    with closing(system.HeldFolder(folder)) as held:
        assert held.is_there()
        folder.rename(tmp_path / "moved")
        with pytest.raises(FileNotFoundError):
            held.is_there()
        folder.mkdir()
        assert not held.is_there()


def test_reading_at_an_offset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        found = [system.read_at(file.fileno(), 4, 3), system.read_at(file.fileno(), 4, 8)]
        monkeypatch.delattr(os, "pread")
        assert found == [system.read_at(file.fileno(), 4, 3), system.read_at(file.fileno(), 4, 8)] == [b"3456", b"89"]


@pytest.mark.parametrize("name", ["con", "nul", "com1", "aux"])
def test_names_that_no_file_can_have_on_windows(name: str, kept_store: FeatureStore) -> None:
    with pytest.raises(InputError, match=f"'{name}', which no folder can have on Windows"):
        kept_store.append({name: pa.table({"x": [1]})})
    for snapshot in (name.upper(), f"{name}.1", "ends."):
        with pytest.raises(InputError, match="which no file can have on Windows"):
            kept_store.create_snapshot(snapshot)


def test_snapshots_that_would_be_one_file_elsewhere(store: FeatureStore) -> None:
    store.create_snapshot("Before")
    with pytest.raises(InputError, match="there is a snapshot 'Before', which differs in case alone"):
        store.create_snapshot("before")
    with pytest.raises(InputError, match="'Before'"):
        store.create_snapshot("Before")


def test_paths_are_stored_with_slashes() -> None:
    assert with_slashes(r"photos\cats\1.jpg", "\\") == "photos/cats/1.jpg"
    assert with_slashes(r"photos/a\b.jpg", "/") == r"photos/a\b.jpg"


@pytest.mark.parametrize(("chosen", "written"), [("", "≈".encode()), ("cp1252", rb"\u2248")])
def test_files_and_pipes_take_every_character(chosen: str, written: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", chosen)
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding="cp1252"))
    terminal.guard()
    print("≈", end="", flush=True)
    assert pipe.getvalue() == written
