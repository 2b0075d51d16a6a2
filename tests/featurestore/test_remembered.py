"""A query by image finds the backbone of a revision again, by the person's own record alone."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import made_backbones
import numpy as np
import pyarrow as pa
import pytest
from support import Collection, CountingBackbone

import featurestore
from featurestore import FeatureStore, StoredRevision, find_backbone
from featurestore.backbones import remembered
from featurestore.backbones.preprocessing import Preprocessing
from featurestore.backbones.registry import resolve
from featurestore.errors import BackboneError, InputError
from featurestore.explore.inventory import stored_revision

Invoke = Callable[..., tuple[int, str, str]]
OPTIONS = {"tensor": 2, "precision": "bf16", "preprocessing": {"scale": "signed", "mean": "0.1,0.2,0.3"}}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings folder of each test, and the backbone ``blocks:FILE``."""
    made_backbones.install(monkeypatch)
    monkeypatch.setenv("FEATURESTORE_CONFIG", str(tmp_path / "settings"))
    return tmp_path / "settings"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a backbone, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.blocks").write_text("2.5")
    return tmp_path / "net.blocks"


@pytest.fixture
def embedded_by_file(store: FeatureStore, file: Path) -> FeatureStore:
    """A store embedded by a relative path and with every option."""
    store.embed("blocks:net.blocks", name="mine", **OPTIONS)
    return store


def query(store: FeatureStore, collection: Collection, **options: object) -> tuple[list[int], list[float]]:
    found = store.similar(collection.images / "105.jpg", backbone="mine", k=3, **options)  # type: ignore[arg-type]
    return found.ids[0].tolist(), found.scores[0].tolist()


def test_a_query_by_image_needs_no_options(
    embedded_by_file: FeatureStore,
    collection: Collection,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir("/")
    caplog.set_level("INFO", logger="featurestore")
    found = query(embedded_by_file, collection)
    assert found[0][0] == 105
    assert found[1][0] == pytest.approx(1)
    assert [record.getMessage() for record in caplog.records] == [f"the backbone 'mine' is loaded from {file}"]
    # The same by the file alone, and by a loaded backbone, whose vectors are equal bit for bit.
    assert query(embedded_by_file, collection, model=f"blocks:{file}") == found
    again = find_backbone(stored_revision(embedded_by_file, "mine"))
    by_file = featurestore.load_backbone(f"blocks:{file}", **OPTIONS)  # type: ignore[arg-type]
    images = [collection.images / f"{img_id}.jpg" for img_id in collection.ids]
    stored = embedded_by_file.features("mine", view="images_usable").X
    for backbone in (again, by_file):
        assert featurestore.embed_files(backbone, images).tobytes() == stored.tobytes()
    assert query(embedded_by_file, collection, model=again) == found


def test_the_record_is_the_persons_alone(embedded_by_file: FeatureStore, folder: Path, file: Path) -> None:
    path = folder / "backbones.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    ((revision, entry),) = json.loads(path.read_text())["backbones"].items()
    assert revision == embedded_by_file.backbones()[0].revision
    assert (entry["reference"], entry["tensor"], entry["size"]) == (f"blocks:{file}", 2, 3)
    assert entry["preprocessing"]["mean"] == [0.1, 0.2, 0.3]
    assert not [name for name in embedded_by_file.path.rglob("*.json") if str(file) in name.read_text()]
    assert str(file) not in str(embedded_by_file.query("FROM backbones").to_pylist())
    written = path.stat().st_mtime_ns
    resolve("blocks:net.blocks", name="mine", **OPTIONS)  # type: ignore[arg-type]
    assert path.stat().st_mtime_ns == written, "nothing new, nothing written"


def test_what_is_gone_or_changed_is_said(embedded_by_file: FeatureStore, collection: Collection, file: Path) -> None:
    for content in ("7.5", "7.55555"):
        file.write_text(content)
        with pytest.raises(
            InputError, match=rf"loaded from '{file}', which has changed \(its bytes\): name .*--model bl"
        ):
            query(embedded_by_file, collection)
    moved = file.with_name("moved.blocks")
    moved.write_text("2.5")
    file.unlink()
    with pytest.raises(InputError, match=rf"loaded from '{file}', which is gone: name its new place with --model"):
        query(embedded_by_file, collection)
    assert query(embedded_by_file, collection, model=f"blocks:{moved}")[0][0] == 105
    with pytest.raises(BackboneError, match="there is no file"):
        query(embedded_by_file, collection, model=f"blocks:{file}")
    with pytest.raises(InputError, match="distances between them are meaningless"):
        query(embedded_by_file, collection, model=f"blocks:{moved}", tensor=1)


def test_the_command_says_which_file(
    kept_store: FeatureStore, tmp_path: Path, folder: Path, file: Path, invoke: Invoke
) -> None:
    image = next(kept_store.path.parent.glob("posters/*.jpg"))
    assert invoke("embed", "--backbone", "blocks:net.blocks", "--tensor", "1")[0] == 0
    code, out, err = invoke("similar", "--backbone", "net", "--image", str(image), "-k", "1")
    assert (code, err) == (0, f"featurestore: the backbone 'net' is loaded from {file}\n")
    assert out.split()[2] == image.stem
    file.unlink()
    code, out, err = invoke("similar", "--backbone", "net", "--image", str(image))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "which is gone" in err
    assert invoke("backbone", "remove", "net")[0] == 0


def test_a_known_name_needs_no_record(store: FeatureStore, collection: Collection, folder: Path) -> None:
    store.embed("descriptors", name="mine", workers=1)
    first = query(store, collection)
    assert first[0][0] == 105, "remembered under another name"
    (folder / "backbones.json").unlink()
    with pytest.raises(InputError, match=r"not remembered on this machine and can't be loaded by its name .*--model"):
        query(store, collection)
    assert query(store, collection, model="descriptors") == first
    store.rename_backbone("mine", "descriptors")
    assert store.similar(collection.images / "105.jpg", backbone="descriptors", k=1).ids.tolist() == [[105]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b'{"format": 2, "backbones": {}}',
        b'{"format": 1, "backbones": []}',
        b" " * (remembered.MOST_BYTES + 1),
    ],
    ids=["empty", "bytes", "deep", "list", "format", "kind", "large"],
)
def test_a_damaged_record_stops_nothing(
    content: bytes, folder: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.mkdir()
    (folder / "backbones.json").write_bytes(content)
    spec = resolve("blocks:net.blocks").spec
    stored = StoredRevision("net", spec.revision, spec.weights)
    assert find_backbone(stored, model="blocks:net.blocks").spec == spec
    with pytest.raises(InputError, match="not remembered on this machine"):
        find_backbone(stored)
    notes = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(notes) == 2, "one when it is written, one when it is read"
    assert all("backbones.json' can't be used (" in note for note in notes)
    assert (folder / "backbones.json").read_bytes() == content, "what is no record of ours is left alone"


@pytest.mark.parametrize(
    "entry",
    [
        None,
        3,
        {},
        {"reference": "blocks:x"},
        {"reference": 3, "weights_hash": "w"},
        {"reference": "blocks:x", "weights_hash": "w", "later": 1},
        {"reference": "blocks:x", "weights_hash": "w", "preprocessing": [1]},
        {"reference": "blocks:x", "weights_hash": "w", "tensor": 1.5},
    ],
)
def test_a_damaged_entry_is_one_sentence(entry: object, folder: Path) -> None:
    folder.mkdir()
    (folder / "backbones.json").write_text(json.dumps({"format": 1, "backbones": {"r": entry}}))
    if entry is None:
        assert remembered.recall("r") is None
    else:
        with pytest.raises(InputError, match=r"the entry of revision r is not one of this version\): correct or"):
            remembered.recall("r")
    assert remembered.recall("other") is None


def test_without_a_place_to_write_embed_goes_on(
    store: FeatureStore, file: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder.write_text("a file where the folder should be")
    assert store.embed("blocks:net.blocks", name="mine").computed == 24
    (note,) = [record.getMessage() for record in caplog.records]
    assert note.startswith("the files of the backbone 'mine' are not remembered (")


def test_the_record_stays_small(folder: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST_BYTES", 1200)
    for tensor in range(9):
        resolve("blocks:net.blocks", tensor=tensor)
    kept = json.loads((folder / "backbones.json").read_text())["backbones"]
    assert [entry["tensor"] for entry in kept.values()] == [*range(9 - len(kept), 9)]
    assert 2 < len(kept) < 9
    monkeypatch.setattr(remembered, "MOST_ENTRIES", 2)
    resolve("blocks:net.blocks", tensor=0)
    kept = json.loads((folder / "backbones.json").read_text())["backbones"]
    assert [entry["tensor"] for entry in kept.values()] == [8, 0]


def test_the_settings_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert remembered.settings_folder() == tmp_path / "settings"
    monkeypatch.delenv("FEATURESTORE_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setitem(__import__("sys").modules, "platformdirs", None)
    assert remembered.settings_folder() == tmp_path / "xdg" / "featurestore"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert remembered.settings_folder() == tmp_path / "home" / ".config" / "featurestore"


@pytest.mark.parametrize("named", ["blocks:{file}", "blocks:net.blocks", "{file}", "../net.blocks", "blocks"])
def test_a_stranger_names_no_file(named: str, file: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec = featurestore.load_backbone("blocks:net.blocks").spec
    stored = StoredRevision(named.format(file=file), spec.revision, spec.weights, spec.options)
    with pytest.raises(InputError, match="is not remembered on this machine and can't be loaded by its name"):
        find_backbone(stored)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("options", "preprocessing", "sentence"),
    [
        ({"precision": "fp1"}, {}, "got the precision 'fp1'"),
        ({}, {"height": 10**9}, "preprocessing height="),
        ({}, {"later": 1}, "there is no preprocessing 'later'"),
        ({"tensor": "1"}, {}, "distances between them are meaningless"),
    ],
)
def test_a_strangers_options_are_checked(
    options: dict[str, object], preprocessing: dict[str, object], sentence: str, file: Path
) -> None:
    spec = featurestore.load_backbone("blocks:net.blocks").spec
    stored = StoredRevision("mine", spec.revision, spec.weights, options, preprocessing)
    with pytest.raises((InputError, BackboneError), match=sentence):
        find_backbone(stored, model="blocks:net.blocks")


def test_a_loaded_backbone_is_not_remembered(store: FeatureStore, folder: Path, file: Path) -> None:
    store.embed(CountingBackbone())
    store.embed(featurestore.load_backbone("blocks:net.blocks"))
    assert not folder.exists()


def test_preprocessing_in_words() -> None:
    assert Preprocessing().describe() == "stretched to 224 × 224 pixels, bilinear; RGB 0 to 1"
    clip = Preprocessing(resize="shortest", edge=256, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(1, 2, 3))
    assert clip.describe() == (
        "shortest side to 256 pixels, centre crop of 224 × 224 pixels, bicubic; RGB 0 to 1; minus 0.5, 0.5, 0.5; "
        "divided by 1, 2, 3"
    )
    other = Preprocessing(resize="longest", scale="byte", color="BGR", layout="NCHW", dtype="float16", decode="draft")
    assert other.describe() == (
        "longest side to 224 pixels, padded to 224 × 224 pixels, bilinear; BGR bytes 0 to 255; NCHW; float16; "
        "JPEG decoded at a smaller scale"
    )
    assert Preprocessing(edge=256).describe().startswith("stretched to 256 × 256 pixels, centre crop of 224 × 224")
    patches = Preprocessing(resize="patches", patch=16, max_patches=256).describe()
    assert patches.startswith("at most 256 patches of 16 × 16 pixels")


def test_a_damaged_record_in_a_store_is_said(embedded_by_file: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pa.table({"backbone": ["mine"], "weights": ["w"], "options": ["["], "preprocessing": ["{}"]})
    monkeypatch.setattr(embedded_by_file, "query", lambda *arguments: rows)
    with pytest.raises(featurestore.errors.IntegrityError, match="the options of the backbone 'mine'"):
        stored_revision(embedded_by_file, "mine")


def test_values_by_any_path_are_equal(embedded_by_file: FeatureStore, collection: Collection, file: Path) -> None:
    second = FeatureStore(embedded_by_file.path.with_name("second"))
    second.ingest(metadata=collection.metadata, images=collection.images)
    second.embed(find_backbone(stored_revision(embedded_by_file, "mine")))
    first, again = (one.refresh().features("mine", view="images_usable") for one in (embedded_by_file, second))
    assert first.X.tobytes() == again.X.tobytes()
    assert np.array_equal(first.ids, again.ids)
    assert second.backbones()[0].revision == embedded_by_file.backbones()[0].revision
