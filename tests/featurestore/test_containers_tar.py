"""Images in tar archives: their names, labels and bytes; damaged and hostile archives."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from made_containers import contents, damage, opened, picture, use

from featurestore.collections.containers import (
    is_container_name,
    open_container,
    sidecars,
)
from featurestore.collections.containers import tar as tar_kind
from featurestore.errors import ImageError, InputError


def tar(path: Path, members: Iterable[tuple[str, bytes]], form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_a_webdataset_shard(tmp_path: Path) -> None:
    members = [
        ("a/000.jpg", picture(0)),
        ("a/000.cls", b"3\n"),
        ("a/000.json", b'{"w": 8, "tags": ["x"], "box": {"x": 1}, "who": "a\\ud800", "mixed": 1}'),
        ("a/000.txt", "été\n".encode()),
        ("a/001.png", picture(1, "PNG")),
        ("a/001.json", b'{"w": 2.5, "mixed": "b", "big": 36893488147419103232}'),
        ("a/002.left.JPG", picture(2)),
        ("a/002.right.JPG", picture(3)),
        ("a/002.cls", b"-1"),
        ("a/002.json", b"[1]"),
        ("a/003.npy", b"x"),
        ("a/._000.jpg", b"x"),
    ]
    container = opened(tar(tmp_path / "s.tar", members))
    assert contents(container) == [picture(0), picture(1, "PNG"), picture(2), picture(3)]
    rows = container.rows()
    assert rows.member == rows.name == ["a/000.jpg", "a/001.png", "a/002.left.JPG", "a/002.right.JPG"]
    assert rows.columns.to_pydict() == {
        "w": [8.0, 2.5, None, None],
        "tags": [["x"], None, None, None],
        "box": ['{"x": 1}', None, None, None],
        "who": ["a\\ud800", None, None, None],
        "mixed": ["1", "b", None, None],
        "txt": ["été", None, None, None],
        "cls": [3, None, -1, -1],
        "big": [None, "36893488147419103232", None, None],
    }
    assert rows.notes == (
        "members of the tar that are left out: 2 other files",
        "2 files beside the images are not used: not a JSON object, or too large",
    )


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_plain_tar_of_class_folders(tmp_path: Path, form: int) -> None:
    names = ["x/cat/1.jpg", f"x/{'long' * 30}/1.jpg", "x/dog/été.jpg"]
    container = opened(tar(tmp_path / "s.tar", [(name, picture(i)) for i, name in enumerate(names)], form))
    assert contents(container) == [picture(0), picture(1), picture(2)]
    rows = container.rows()
    assert (rows.name, rows.columns.num_columns, rows.notes) == (names, 0, ())


def test_classes_that_are_not_all_numbers_stay_text(tmp_path: Path) -> None:
    for classes in ([b"cat", b"1"], [b"007", b"1"], [b"9" * 30, b"1"]):
        members = [(f"{i}.{end}", c) for i, one in enumerate(classes) for end, c in (("jpg", picture(i)), ("cls", one))]
        rows = opened(tar(tmp_path / "s.tar", members)).rows()
        assert rows.columns.to_pydict() == {"cls": [one.decode() for one in classes]}


def test_equal_names_stay_apart_with_their_own_labels(tmp_path: Path) -> None:
    members = [("0.jpg", picture(0)), ("0.cls", b"0"), ("0.jpg", picture(1)), ("0.cls", b"1"), ("/0.jpg", picture(2))]
    container = opened(tar(tmp_path / "s.tar", members))
    assert contents(container) == [picture(0), picture(1), picture(2)]
    rows = container.rows()
    assert rows.name == ["0.jpg", "0~2.jpg", "0~3.jpg"]
    assert rows.columns["cls"].to_pylist()[:2] == [0, 1]
    assert rows.notes == ("2 images have the name of an earlier one: they are named NAME~2 and so on",)


def test_hostile_members_of_a_tar_are_names_only(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for number, name in enumerate(
            ["../../1.jpg", "/etc/2.jpg", "a/../3.jpg", "b\udcff.jpg", "C:\\4.jpg", "..\\5.jpg"]
        ):
            info = tarfile.TarInfo(name)
            info.size = len(picture(number))
            archive.addfile(info, io.BytesIO(picture(number)))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("link.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    container = opened(tmp_path / "s.tar")
    assert contents(container) == [picture(i) for i in range(6)]
    rows = container.rows()
    assert rows.name == ["1.jpg", "etc/2.jpg", "a/3.jpg", "b/udcff.jpg".replace("/", "\\"), "4.jpg", "5.jpg"]
    assert rows.notes == ("members of the tar that are left out: 4 links, devices or sparse files",)


def test_a_truncated_tar_gives_the_images_before(tmp_path: Path) -> None:
    path = tar(tmp_path / "s.tar", [(f"{i}.jpg", picture(i) + bytes(3000)) for i in range(5)])
    content = path.read_bytes()
    size = (len(picture(0)) + 3000 + 1023) // 512 * 512
    for end in (2 * size, 2 * size + 100, 2 * size + 700):
        path.write_bytes(content[:end])
        container = opened(path)
        assert len(contents(container)) == 2
        assert "truncated" in container.rows().notes[0] or "damaged" in container.rows().notes[0]
        assert "the 2 images before are used" in container.rows().notes[0]
    path.write_bytes(content)
    container = opened(path)
    path.write_bytes(content[: 4 * size])
    assert "it has changed" in str(list(container.read_all())[4][1])
    path.unlink()
    with pytest.raises(ImageError, match="can't be read"):
        container.read("0.jpg")
    with pytest.raises(InputError, match="can't be read"):
        container.rows()


def test_two_tars_in_one_file_are_said(tmp_path: Path) -> None:
    path = tar(tmp_path / "s.tar", [("1.jpg", picture(1))])
    path.write_bytes(path.read_bytes() + bytes(1 << 20) + path.read_bytes())
    assert "behind the end of the tar are not read" in opened(path).rows().notes[0]


def test_headers_that_lie_about_sizes_end_the_reading(tmp_path: Path) -> None:
    def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
        info = tarfile.TarInfo(name)
        info.size, info.type = size, kind
        return info.tobuf(tarfile.GNU_FORMAT)

    first = header("1.jpg", len(picture(1))) + picture(1).ljust(1024, b"\0")[: (len(picture(1)) + 511) // 512 * 512]
    path = tmp_path / "s.tar"
    for lie in (
        header("2.jpg", 1 << 60),
        header("2.jpg", -512),
        header("2.jpg", -(1 << 40)),
        header("x", 1 << 50, tarfile.XHDTYPE),
        header("x", 1 << 50, tarfile.GNUTYPE_LONGNAME),
        header("x", 0, tarfile.XHDTYPE) * 3000,
    ):
        path.write_bytes(first + lie + first + bytes(1024))
        container = opened(path)
        assert contents(container) == [picture(1)]
        assert "the 1 images before are used" in container.rows().notes[0]


def test_members_of_any_number_and_size_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tar(tmp_path / "s.tar", [("1.jpg", picture(1)), ("1.cls", b"1" * 50), ("2.jpg", picture(2))])
    monkeypatch.setattr(tar_kind, "MAX_BYTES", 10)
    monkeypatch.setattr(sidecars, "MAX_SIDECAR", 49)
    container = opened(path)
    assert contents(container) == ["more than the limit of 10 bytes"] * 2
    assert "1 files beside the images are not used" in container.rows().notes[0]
    monkeypatch.setattr(tar_kind, "MAX_MEMBERS", 2)
    with pytest.raises(InputError, match="more than 2 members"):
        open_container(path)


def test_tars_without_images_and_compressed_ones(tmp_path: Path) -> None:
    assert open_container(tar(tmp_path / "a.tar", [])) is None
    assert open_container(tar(tmp_path / "b.tar", [("a.py", b"x")])) is None
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz"):
        pass
    with pytest.raises(InputError, match="unpack it, or pack it as"):
        open_container(tmp_path / "c.tar.gz")
    (tmp_path / "d.tar").write_bytes(b"no tar")
    with pytest.raises(InputError, match="damaged, or misnamed"):
        open_container(tmp_path / "d.tar")
    assert is_container_name("train-0001.tar")


def test_damaged_tars_end_in_a_sentence(tmp_path: Path) -> None:
    members = [
        (f"{i}.{end}", c) for i in range(6) for end, c in (("jpg", picture(i)), ("json", b'{"a": 1}'), ("cls", b"1"))
    ]
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        path = tar(tmp_path / "s.tar", [*members, ("é" * 120 + ".jpg", picture(1))], form)
        content = path.read_bytes()
        for seed in range(50):
            path.write_bytes(damage(content, seed))
            use(path)
