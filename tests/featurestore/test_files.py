"""What only looks like a file never blocks and never fills the memory, whoever named it."""

import errno
import gzip
import io
import os
import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from support import Collection, huge_png, jpeg

from benchmarks.models import folder as models
from featurestore import FeatureStore, files
from featurestore.collections import text_files
from featurestore.collections.formats import FORMATS
from featurestore.collections.images import thumbnail
from featurestore.collections.movies.metadata import read_metadata
from featurestore.errors import ImageError, InputError, MetadataError, StoreError
from featurestore.features.bundle import MANIFEST, open_bundle
from featurestore.files import atomic_file, atomic_folder, file_hash, make_folder, read_file, write_atomic
from featurestore.storage.state import STATE_FILE, read_state


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(path))  # an address of a socket is short


NO_FILES: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "socket": _socket,
    "folder": Path.mkdir,
    "link to nothing": lambda path: path.symlink_to("nowhere"),
    "link to itself": lambda path: path.symlink_to(path.name),
}


ANYTHING = re.compile(".+")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.1)


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_what_is_no_file_is_refused_at_once(make: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "x"
    make(path)
    for pipes in (False, True):
        with pytest.raises(OSError, match=ANYTHING):
            read_file(path, limit=1000, pipes=pipes)
    with pytest.raises(OSError, match=ANYTHING):
        file_hash(path)
    with pytest.raises(ImageError, match="the file can't be read: "):
        thumbnail(path, width=10, height=10)


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_a_file_within_the_limit(size: int, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(size))
    assert read_file(path, limit=1000) == bytes(size)


def test_a_file_over_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(1001))
    with pytest.raises(OSError, match="more than the limit of 1,000 bytes"):
        read_file(path, limit=1000)
    os.truncate(path, 1 << 40)  # takes no room on the disk, and would take a terabyte of memory
    with pytest.raises(OSError, match="more than the limit"):
        read_file(path, limit=1000)


def test_a_file_of_the_system_that_is_larger_than_it_says() -> None:
    assert os.stat("/proc/self/status").st_size == 0
    assert read_file(Path("/proc/self/status"), limit=1 << 20).startswith(b"Name:")


@pytest.mark.parametrize("size", [1, 1000, 3_000_000])
def test_a_pipe_that_is_written_to(size: int, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(bytes(size),))
    writer.start()
    assert read_file(path, limit=size, pipes=True) == bytes(size)
    writer.join()


def test_a_pipe_whose_writer_is_slow(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write() -> None:
        with path.open("wb", buffering=0) as pipe:
            pause.wait(0.3)  # longer than a pipe without a writer is waited for
            pipe.write(b"late")

    pause = threading.Event()
    writer = threading.Thread(target=write)
    writer.start()
    assert read_file(path, limit=10, pipes=True) == b"late"
    writer.join()


def test_a_pipe_without_end_is_cut_off() -> None:
    ours, theirs = os.pipe()

    def write() -> None:
        with os.fdopen(theirs, "wb", buffering=0) as pipe, suppress(BrokenPipeError):
            while True:
                pipe.write(bytes(1 << 16))

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(OSError, match="more than the limit of 200,000 bytes"):
        read_file(Path(f"/dev/fd/{ours}"), limit=200_000, pipes=True)
    os.close(ours)
    writer.join()


@pytest.fixture
def run(invoke: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A command, in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    return invoke


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_every_command_says_so_in_one_sentence(run, make: Callable[[Path], None], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    collection = Collection(tmp_path, 1)
    make(Path("x"))
    make(Path("x.csv"))
    np.save("v.npy", np.zeros((1, 16), np.float32))
    for command in (
        ["ingest", "--metadata", "x", "--images", str(collection.images)],
        ["ingest", "--metadata", str(collection.metadata), "--images", "x"],
        ["similar", "--backbone", "counting", "--vector", "x"],
        ["similar", "--backbone", "descriptors", "--image", "x"],
        ["view", "create", "v", "--sql", "x"],
        ["quality", "--split", "x"],
        ["import-embeddings", "x.csv", "--backbone", "b"],
        ["import-embeddings", "v.npy", "--ids", "x", "--backbone", "b"],
        ["embed", "--backbone", "tflite:x"],
    ):
        code, out, err = run(*command)
        assert (code, out) == (1, ""), command
        assert re.fullmatch(r"featurestore: [^\n]+\n", err), command


@pytest.mark.parametrize("kind", ["--sql", "--split", "--vector"])
def test_a_pipe_that_the_user_named(run, kind: str) -> None:  # type: ignore[no-untyped-def]
    vector = io.BytesIO()
    np.save(vector, np.zeros(16, np.float32))
    content, command = {
        "--sql": (b"SELECT ImgId FROM collection", ["view", "create", "v"]),
        "--split": (b"ImgId,side\n101,train\n102,test\n", ["quality"]),
        "--vector": (vector.getvalue(), ["similar", "--backbone", "counting"]),
    }[kind]
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_bytes, args=(content,))
    writer.start()
    code, _, err = run(*command, kind, "pipe")
    writer.join()
    assert code == 0, err


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_records_that_are_no_files(make: Callable[[Path], None], tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """Of a store, a bundle and a model, which may come from anywhere."""
    monkeypatch.chdir(tmp_path)
    for name, open_it in ((STATE_FILE, read_state), (MANIFEST, open_bundle), (models.CARD, models.load)):
        make(tmp_path / name)
        with pytest.raises((InputError, StoreError)):
            open_it(tmp_path)


def test_metadata_that_unpacks_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_files, "MAX_BYTES", 1000)
    path = tmp_path / "m.csv.gz"
    path.write_bytes(gzip.compress(bytes(1001)))
    with pytest.raises(MetadataError, match="unpacks to more than 1,000 bytes"):
        read_metadata(path)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"
BAD_POSTERS: dict[str, Callable[[Path], object]] = {
    **NO_FILES,
    "gone": lambda path: None,
    "30000 x 30000 pixels": lambda path: path.write_bytes(huge_png()),
    "PostScript": lambda path: path.write_bytes(POSTSCRIPT),
    "cut short": lambda path: path.write_bytes(jpeg(1)[:200]),
    "text": lambda path: path.write_bytes(b"<script>"),
    "sparse": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
}


@pytest.mark.parametrize("make", BAD_POSTERS.values(), ids=BAD_POSTERS)
def test_a_bad_poster_leaves_its_reason_on_the_sheet(
    kept_store: FeatureStore, tmp_path: Path, make: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(kept_store.sql("SELECT any_value(source) AS f FROM images")["f"][0].as_py())
    monkeypatch.chdir(folder)
    poster = folder / "101.jpg"
    poster.rename(tmp_path / "kept")
    try:
        make(poster)
        page = kept_store.contact_sheet(kept_store.similar([101], backbone="counting", k=2), title="t")
    finally:
        if poster.is_dir():
            poster.rmdir()
        (tmp_path / "kept").rename(poster)
    assert page.count("data:image/jpeg;base64,") == 2
    assert re.search(r'<div class="none">no image file \([^<]{10,}\)</div>', page)


def test_no_format_is_drawn_by_another_program() -> None:
    assert not {"EPS", "PS", "WMF", "MPEG"} & set(FORMATS)


def test_a_thumbnail_fits_and_keeps_its_shape(tmp_path: Path) -> None:
    import base64

    from PIL import Image

    path = tmp_path / "wide.png"
    Image.new("RGBA", (400, 100)).save(path)
    for form in ("jpeg", "webp"):
        head, _, data = thumbnail(path, width=100, height=100, form=form, quality=60).partition(",")
        shown = Image.open(io.BytesIO(base64.b64decode(data)))
        assert (head, shown.format, shown.size) == (f"data:image/{form};base64", form.upper(), (100, 25))


def test_nothing_takes_the_place_of_a_device(tmp_path: Path) -> None:
    for path in (Path("/dev/null"), tmp_path):
        with pytest.raises(InputError, match="name a file"):
            files.refuse_target(path)
    files.refuse_target(tmp_path / "new")


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every fsync and rename, in order, with the last part of the name that was synced or given."""
    found: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(handle: int) -> None:
        fsync(handle)
        found.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")

    def note_replace(source: Path, target: Path) -> None:
        replace(source, target)
        found.append(f"rename to {Path(target).name}")

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    return found


def test_several_files_are_whole_and_on_disk_and_their_folder_is_synced_once(tmp_path: Path, steps: list[str]) -> None:
    (tmp_path / "1").write_bytes(b"old")
    files.write_all(tmp_path, {str(place): bytes([place]) for place in range(20)})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {str(n): bytes([n]) for n in range(20)}
    assert steps[-1] == f"fsync {tmp_path.name}"
    assert steps.count(steps[-1]) == 1
    for place in range(20):
        (synced,) = (at for at, step in enumerate(steps) if step.startswith(f"fsync .{place}.new."))
        assert synced < steps.index(f"rename to {place}")
    files.write_all(tmp_path, {})
    assert len(steps) == 41


def test_when_one_of_several_files_can_not_be_written_none_is_left_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def full(handle: int) -> None:
        if "/.b." in os.readlink(f"/proc/self/fd/{handle}"):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write_all(tmp_path, {"a": b"1", "b": b"2"})
    assert {path.name for path in tmp_path.iterdir()} <= {"a"}


def test_a_file_that_may_be_lost_waits_for_no_disk(tmp_path: Path, steps: list[str]) -> None:
    files.write_atomic(tmp_path / "x", b"new", sync=False)
    assert (tmp_path / "x").read_bytes() == b"new"
    assert steps == ["rename to x"]


def test_a_file_appears_when_it_is_whole_and_on_disk(tmp_path: Path, steps: list[str]) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with atomic_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
        assert steps == []
    assert path.read_bytes() == b"new"
    assert steps[0].startswith("fsync .x.new.")
    assert steps[1:] == ["rename to x", f"fsync {tmp_path.name}"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError, ValueError])
def test_an_error_leaves_the_old_file_alone(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def write() -> None:
        with atomic_file(path) as file:
            file.write(b"new")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_of_one_file_never_share_a_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with atomic_file(path) as one, atomic_file(path) as other:
        one.write(b"one")
        other.write(b"other")
        assert one.name != other.name
    assert path.read_bytes() == b"one"  # it ended last


@pytest.mark.parametrize("letter", ["x", "ä", "\N{CLAPPER BOARD}"], ids=["one byte", "two bytes", "four bytes"])
def test_the_longest_name(letter: str, tmp_path: Path) -> None:
    name = letter * (255 // len(letter.encode()))
    write_atomic(tmp_path / name, b"content")
    with atomic_folder(tmp_path / "folder" / name) as folder:
        (folder / "file").write_bytes(b"content")
    assert (tmp_path / name).read_bytes() == (tmp_path / "folder" / name / "file").read_bytes() == b"content"


def test_a_missing_folder_is_the_error_of_a_file_in_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "no" / "x", b"")
    with pytest.raises(NotADirectoryError):
        write_atomic(tmp_path / "file" / "x", b"")


def test_every_parent_that_is_made_is_on_disk(tmp_path: Path, steps: list[str]) -> None:
    make_folder(tmp_path / "a" / "b" / "c")
    assert steps == [f"fsync {tmp_path.name}", "fsync a", "fsync b"]
    make_folder(tmp_path / "a" / "b" / "c")
    assert len(steps) == 3
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_folder(tmp_path / "file")


def test_a_folder_is_exchanged_when_all_of_it_is_on_disk(tmp_path: Path, steps: list[str]) -> None:
    path = tmp_path / "parent" / "x"
    for content in (b"one", b"two"):
        steps.clear()
        with atomic_folder(path) as folder:
            (folder / "inside").mkdir()
            (folder / "inside" / content.decode()).write_bytes(content)
        assert [(file.name, file.read_bytes()) for file in path.rglob("*") if file.is_file()] == [
            (content.decode(), content)
        ]
        assert list(path.parent.iterdir()) == [path]
        moved = steps.index("rename to x")
        assert {f"fsync {content.decode()}", "fsync inside"} <= set(steps[:moved])
        assert steps[moved + 1 :] == ["fsync parent"]


def test_an_error_leaves_the_old_folder_alone(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.mkdir()
    (path / "old").touch()

    def write() -> None:
        with atomic_folder(path) as folder:
            (folder / "new").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert [entry.name for entry in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_goes_on_naming_the_folder_that_is_exchanged(tmp_path: Path) -> None:
    there, link = tmp_path / "there", tmp_path / "link"
    there.mkdir()
    link.symlink_to(there)
    with atomic_folder(link) as folder:
        (folder / "new").touch()
    assert link.readlink() == there
    assert (there / "new").exists()
    assert sorted(tmp_path.iterdir()) == [link, there]
