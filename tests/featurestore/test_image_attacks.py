"""Images that a stranger made to cost time or memory, to be run, or to be no file: refused, or read as pictures."""

import gzip
import io
import os
import struct
import tarfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encoded, picture
from PIL import Image
from support import CountingBackbone

from featurestore import FeatureStore
from featurestore.backbones.preprocessing import Preprocessing
from featurestore.collections import inspection, json_tables, memory, shards, tables, text_tables
from featurestore.collections.address import ImageAddress
from featurestore.collections.images import ImageFacts, decode, inspect, scaled_image
from featurestore.collections.tables import read_table
from featurestore.errors import ImageError, MetadataError
from featurestore.explore.page.images import Thumbnails
from featurestore.explore.page.messages import PageError

SCRIPT = b"<script>alert(1)</script>"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_with(*chunks: bytes) -> bytes:
    """A small PNG with ``chunks`` after its header."""
    content = encoded(picture(1), "PNG")
    return content[:33] + b"".join(chunks) + content[33:]


def many_scans(count: int, side: int) -> bytes:
    """A progressive JPEG whose last scan, some bytes long, comes ``count`` times more."""
    content = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    return content[:-2] + content[content.rindex(b"\xff\xda") : -2] * count + content[-2:]


def many_frames(count: int) -> bytes:
    """A GIF of ``count`` frames."""
    content = encoded(Image.new("P", (16, 16)), "GIF")
    start = content.index(b"\x2c", 13)
    return content[:start] + content[start:-1] * count + content[-1:]


def test_a_jpeg_of_many_scans_is_refused_before_they_are_decoded() -> None:
    """Each takes as long as the whole image, and less than a hundred bytes."""
    content = many_scans(3000, 1000)
    started = time.monotonic()
    for read in (inspect, lambda one: decode(one, Preprocessing(8, 8))):
        with pytest.raises(ImageError, match="so many scans"):
            read(content)
    assert time.monotonic() - started < 2
    assert inspect(many_scans(20, 500)).width == 500
    behind = b"\xff\xda\0\x03\1" * 100_000
    assert inspect(encoded(picture(1), "JPEG") + behind).width == 40, "what follows is not decoded"
    exif = b"Exif\0\0" + b"\xff\xda" * 30_000
    assert inspect(encoded(picture(1), "JPEG", comment=exif)).width == 40, "nor what only looks like one"


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
def test_compressed_text_and_profiles_are_not_unpacked_without_limit(kind: bytes) -> None:
    bomb = zlib.compress(bytes(1 << 24), 9)
    with pytest.raises(ImageError, match="too large"):
        inspect(png_with(chunk(kind, (b"x\0\1\0\0\0" if kind == b"iTXt" else b"x\0\0") + bomb)))


def test_of_many_frames_one_is_read() -> None:
    content = many_frames(10_000)
    assert Image.open(io.BytesIO(content)).n_frames == 10_000
    started = time.monotonic()
    assert inspect(content).width == 16
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("kind", "count", "value"),
    [
        *((2, 4, b"abc\0"), (7, 4, b"\6\0\0\0"), (3, 2, b"\6\0\6\0"), (4, 1, b"\xff\xff\xff\xff")),
        *((9, 1, b"\xfa\xff\xff\xff"), (5, 1, b"\x1a\0\0\0"), (12, 1, b"\x1a\0\0\0"), (3, 2**31, b"\x1a\0\0\0")),
    ],
)
def test_an_orientation_of_any_type_is_no_traceback(kind: int, count: int, value: bytes) -> None:
    exif = b"II*\0" + struct.pack("<IHHHI", 8, 1, 0x112, kind, count) + value + bytes(24)
    assert inspect(png_with(chunk(b"eXIf", exif))).width == 40


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("folder", "loop", "zero", "pipe", "missing"):
        with pytest.raises(ImageError, match="can't be read"):
            scaled_image(tmp_path / f"{name}.jpg", width=8, height=8)


def test_the_page_sends_pictures_that_it_made_itself(tmp_path: Path) -> None:
    """A file may be a picture and a page at once; sent are its pixels, as JPEG."""
    (tmp_path / "posters").mkdir()
    for name in ("both", "replaced"):
        content = encoded(picture(len(name)), "JPEG", comment=SCRIPT, icc_profile=SCRIPT * 9)
        (tmp_path / "posters" / f"{name}.jpg").write_bytes(content + SCRIPT)
    (tmp_path / "posters" / "drawing.jpg").write_bytes(SVG)
    store = FeatureStore(tmp_path / "store")
    assert set(store.ingest(images=tmp_path / "posters").broken) == {"drawing.jpg"}
    store.embed(CountingBackbone())
    ids = dict(zip(*store.query("SELECT ImgName, ImgId FROM images").to_pydict().values(), strict=True))
    (tmp_path / "posters" / "replaced.jpg").write_bytes(SVG)
    made = Thumbnails()
    answer = made.answer(store, str(ids["both.jpg"]), side=32)
    assert (answer.kind, answer.body[:3]) == ("image/jpeg", b"\xff\xd8\xff")
    assert SCRIPT not in answer.body
    assert b"ICC_PROFILE" not in answer.body
    for name, sentence in (("drawing.jpg", "has no file"), ("replaced.jpg", "has changed")):
        with pytest.raises(PageError, match=sentence):
            made.answer(store, str(ids[name]), side=32)
    found = store.similar([ids["both.jpg"]], backbone="counting", k=1)
    assert SCRIPT.decode() not in store.contact_sheet(found)
    assert "<svg" not in store.contact_sheet(found)


def test_what_is_read_at_once_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many threads may read a file of half a gigabyte that is none."""
    content, seen = encoded(picture(1), "PNG"), []

    def noted(given: bytes) -> ImageFacts:
        seen.append(memory._taken[1])
        return inspect(given)

    (tmp_path / "posters").mkdir()
    for number in range(20):
        (tmp_path / "posters" / f"{number}.png").write_bytes(content)
    monkeypatch.setattr(inspection, "inspect", noted)
    monkeypatch.setattr(memory, "READ_BYTES", len(content))
    assert FeatureStore(tmp_path / "store").ingest(images=tmp_path / "posters").images_found == 20
    assert seen == [len(content)] * 20, "one at a time"


def test_members_that_are_read_ahead_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[str] = []

    def read_all() -> Iterator[tuple[str, bytes]]:
        for number in range(50):
            handed.append(str(number))
            yield str(number), bytes(100)

    shard = cast(shards.ImageShard, SimpleNamespace(container=SimpleNamespace(read_all=read_all)))
    monkeypatch.setattr(shards, "READ_BYTES", 250)
    found = shards.read_members(shard, {str(number) for number in range(50)}, lambda name, _: name)
    assert next(found) == "0"
    assert len(handed) == 3
    assert list(found) == [str(number) for number in range(1, 50)]


def test_tables_that_unpack_to_more_objects_than_fit_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_tables, "MAX_JSON_VALUES", 1000)
    for module in (text_tables, tables):
        monkeypatch.setattr(module, "MAX_ROWS", 1000)
    for content, sentence in (
        (b"[" + b"{}," * 1000 + b"{}]", "more than 1,000 values"),
        (b"{}\n" * 1001, "more than 1,000 values"),
        (b'{"a": [' + b"[]," * 1000 + b"1]}", "more than 1,000 values"),
        (b"a\n" + b"\n" * 1001 + b"x\n", "more than 1,000 lines"),
    ):
        (tmp_path / "table.gz").write_bytes(gzip.compress(content))
        with pytest.raises(MetadataError, match=sentence):
            read_table(tmp_path / "table.gz")
    pq.write_table(pa.table({"a": pa.nulls(1001, pa.int64())}), tmp_path / "t.parquet")
    with pytest.raises(MetadataError, match="has 1,001 rows"):
        read_table(tmp_path / "t.parquet")


def test_an_address_in_a_container_obeys_the_same_limits(tmp_path: Path) -> None:
    """A program in PostScript, a member of a tar, stays a member that is no image."""
    eps = encoded(picture(0), "EPS")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        member = tarfile.TarInfo("a.jpg")
        member.size = len(eps)
        archive.addfile(member, io.BytesIO(eps))
    with pytest.raises(ImageError, match="no image format is known"):
        scaled_image(ImageAddress(tmp_path / "x.tar", "a.jpg"), width=8, height=8)


def test_a_word_that_stands_in_every_row_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of some kilobytes would take a megabyte for each row."""
    word = pa.array(["x" * 100_000])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), word)
    for name, made in (("dictionary", column), ("text", column[:900].dictionary_decode())):
        pq.write_table(pa.table({"a": made}), tmp_path / f"{name}.parquet")
        assert (tmp_path / f"{name}.parquet").stat().st_size < 1 << 20
        if name == "text":
            assert read_table(tmp_path / "text.parquet").rows["a"].type == pa.string()
            monkeypatch.setattr(tables, "MAX_BYTES", 1 << 26)
        with pytest.raises(MetadataError, match="unpacks to more than"):
            read_table(tmp_path / f"{name}.parquet")
