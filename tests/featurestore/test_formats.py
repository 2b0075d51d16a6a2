"""Image files of every format are read by their content; damaged ones and bombs are refused with a reason."""

import base64
import io
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from image_files import SIZE, USABLE, Unusable, Usable, encoded, picture, tiled_tiff, unusable, write_collection
from PIL import Image
from support import Collection, needs

from featurestore import FeatureStore
from featurestore.backbones.preprocessing import Preprocessing
from featurestore.collections import formats, images, inspection, scan
from featurestore.collections.formats import FORMATS, SUFFIXES
from featurestore.collections.images import decode, inspect, thumbnail
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.errors import ImageError, ImageNeedsExtra

WIDTH, HEIGHT = SIZE
REFUSED = list(unusable())


def name_of(case: Usable | Unusable) -> str:
    """The name of a test."""
    return case.what if isinstance(case, Unusable) else f"{case.form} {case.mode} {case.suffix} {[*case.options]}"


@pytest.mark.parametrize("way", USABLE, ids=name_of)
def test_each_format_and_mode_becomes_rgb(way: Usable, tmp_path: Path) -> None:
    content = way.content(7)
    facts = inspect(content)
    assert len(facts.phash) == 16
    assert (facts.width, facts.height) == ((27, 32) if way.form == "ICO" else SIZE)
    pixels = decode(content, Preprocessing(HEIGHT, WIDTH))
    assert (pixels.shape, pixels.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
    assert pixels[:2].mean() < 60
    assert pixels[-2:].mean() > 190
    if way.mode in ("RGB", "RGBA", "CMYK", "LAB", "YCbCr"):
        red, green, blue = pixels.reshape(-1, 3).mean(axis=0)
        assert red > green + 8 > blue + 16
    assert way.suffix.lower() in SUFFIXES
    path = tmp_path / f"x{way.suffix}"
    path.write_bytes(content)
    shown = Image.open(io.BytesIO(base64.b64decode(thumbnail(path, width=20, height=24).partition(",")[2])))
    assert (shown.format, shown.mode) == ("JPEG", "RGB")


def test_every_format_is_tried() -> None:
    written = {"JPEG" if way.form == "MPO" else way.form for way in USABLE}
    assert written == set(FORMATS)
    assert {way.suffix.lower() for way in USABLE} <= SUFFIXES


@pytest.mark.parametrize("wrong", REFUSED, ids=name_of)
def test_what_is_no_image_is_refused_with_a_reason(wrong: Unusable, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImageError, match=wrong.reason) as caught:
        inspect(wrong.content)
    assert len(str(caught.value)) < 200
    assert capfd.readouterr() == ("", ""), "neither Pillow nor a C library prints"


def test_a_folder_of_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = write_collection(tmp_path / "made", len(REFUSED) + len(USABLE))
    place, store = tmp_path / "made", tmp_path / "store"
    options = ["--store", str(store), "--metadata", str(place / "MovieGenre.csv"), "--images", str(place / "images")]
    monkeypatch.setattr("sys.argv", ["featurestore", "ingest", *options])
    assert run_command(cli, "featurestore") == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert len(out.splitlines()) <= 60
    rows = FeatureStore(store).sql("SELECT ImgName, reason FROM images WHERE status = 'broken'").to_pylist()
    assert {row["ImgName"] for row in rows} == set(refused)
    for row in rows:
        assert re.search(refused[row["ImgName"]], row["reason"])


def test_a_decoder_that_takes_more_memory_takes_fewer_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MEMORY", WIDTH * HEIGHT * 12)
    inspect(encoded(picture(1), "PNG"))
    inspect(encoded(picture(1), "AVIF"))
    for form in ("WEBP", "JPEG2000"):
        with pytest.raises(ImageError, match=f"over the limit of .* for {form}, whose decoder takes more memory"):
            inspect(encoded(picture(1), form))


def test_tiles_larger_than_the_image_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inspect(tiled_tiff(64)).width == 8
    monkeypatch.setattr(images, "MEMORY", 64 * 64 * 10 - 1)
    with pytest.raises(ImageError, match="the tiles of the image"):
        inspect(tiled_tiff(64))


HEIC = b"\0\0\0\x18ftyp%b\0\0\0\0mif1%b" + bytes(100)


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package that reads HEIC can't be imported."""
    formats._register_heif.cache_clear()
    monkeypatch.setitem(sys.modules, "pillow_heif", None)


@pytest.mark.usefixtures("without_extra")
@pytest.mark.parametrize("brands", [(b"heic", b"heic"), (b"mif1", b"heix"), (b"mif1", b"mif1")])
def test_heic_names_its_extra(brands: tuple[bytes, bytes]) -> None:
    with pytest.raises(ImageNeedsExtra, match=r"pip install 'featurestore\[heic\]'"):
        inspect(HEIC % brands)


@pytest.mark.usefixtures("without_extra")
def test_avif_in_a_plain_container_needs_no_extra() -> None:
    content = encoded(picture(1), "AVIF")
    assert inspect(content[:8] + b"mif1" + content[12:]).width == WIDTH


@pytest.mark.usefixtures("without_extra")
def test_heic_is_read_again_since_its_extra_may_be_there(
    collection: Collection, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = HEIC % (b"heic", b"heic")
    (collection.images / "777.heic").write_bytes(content)
    read: list[bytes] = []

    def noted(content: bytes) -> images.ImageFacts:
        read.append(content)
        return inspect(content)

    monkeypatch.setattr(inspection, "inspect", noted)
    monkeypatch.setattr(scan, "RACY_NS", 0)
    for _ in range(2):
        report = store.ingest(metadata=collection.metadata, images=collection.images)
        assert list(report.broken) == ["777.heic"]
        assert "pip install 'featurestore[heic]'" in report.broken["777.heic"]
    before = len(read)
    store.ingest(metadata=collection.metadata, images=collection.images)
    assert read[before:] == [content]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_heic_is_read_with_its_extra(mode: str) -> None:
    needs("pillow_heif")
    formats._register_heif.cache_clear()
    formats._register_heif()
    content = encoded(picture(1, mode), "HEIF")
    assert (inspect(content).width, inspect(content).height) == SIZE
    pixels = decode(content, Preprocessing(HEIGHT, WIDTH))
    assert pixels[:2].mean() < 60
    assert pixels[-2:].mean() > 190
    with pytest.raises(ImageError):
        inspect(content[: len(content) // 2])
