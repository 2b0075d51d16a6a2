"""Which file is loaded and run is the person's own record alone: what a store or a card says of it changes nothing."""

import json
import os
import py_compile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_backbones
import pytest

from featurestore import Backbone, StoredRevision, find_backbone, load_backbone
from featurestore.backbones import remembered
from featurestore.backbones.records import BackboneRecord, LoadOptions
from featurestore.backbones.registry import resolve
from featurestore.errors import BackboneError, InputError
from featurestore.files import content_hash

OWN = (
    "import featurestore\n"
    "def made(images):\n    return images.mean((1, 2))\n"
    "how = featurestore.Preprocessing(8, 8)\n"
    'means = featurestore.from_callable(made, name="means", revision="1", embed_dim=3, preprocessing=how)\n'
    'other = featurestore.from_callable(made, name="other", revision="1", embed_dim=3, preprocessing=how)\n'
)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A settings folder of each test, and the backbone ``blocks:FILE``."""
    made_backbones.install(monkeypatch)
    monkeypatch.setenv("FEATURESTORE_CONFIG", str(tmp_path / "settings"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "settings"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was loaded."""
    found: list[str] = []
    load = made_backbones.load

    def noted(record: BackboneRecord, options: LoadOptions) -> Any:
        found.append(str(options.target))
        return load(record, options)

    monkeypatch.setattr(made_backbones, "load", noted)
    return found


def stored(backbone: Backbone, **changes: Any) -> StoredRevision:
    """What a store says of a backbone."""
    spec = backbone.spec
    return replace(StoredRevision(spec.name, spec.revision, spec.weights, spec.options), **changes)


def test_the_weights_that_a_stranger_names_are_not_the_ones_to_expect(tmp_path: Path, loads: list[str]) -> None:
    """A card with the revision of this person, and with the hash of the file that came with it."""
    file = tmp_path / "net.blocks"
    file.write_text("2.5")
    mine = resolve("blocks:net.blocks")
    file.write_text("9.9")  # an archive was unpacked over it
    theirs = load_backbone("blocks:net.blocks").spec.weights
    loads.clear()
    for weights in (theirs, mine.spec.weights, "sha256:0", "", None):
        with pytest.raises(InputError, match=r"are said to be of the weights|has changed \(its bytes\)"):
            find_backbone(stored(mine, weights=weights))
    assert loads == []
    file.write_text("2.5")
    with pytest.raises(InputError, match=r"are said to be of the weights sha256:0, and revision .* on this machine"):
        find_backbone(stored(mine, weights="sha256:0"))
    assert loads == []
    assert find_backbone(stored(mine)).spec == mine.spec


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "b.bin").write_bytes(b"3"),
        lambda folder: (folder / "b.bin").rename(folder / "c.bin"),
        lambda folder: (folder / "more").mkdir() or (folder / "more" / "c").write_bytes(b""),
        lambda folder: (folder / "a.json").unlink(),
    ],
)
def test_the_hash_of_a_folder_is_of_all_its_files(change: Callable[[Path], object], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "a.json").write_bytes(b"1")
    (folder / "b.bin").write_bytes(b"2")
    before = content_hash(folder)
    (folder / ".cache").write_bytes(b"of a file manager")
    assert content_hash(folder) == before
    change(folder)
    assert content_hash(folder) != before


def folder_loader(record: BackboneRecord, options: LoadOptions) -> Any:
    """A loader that believes the folder's card, as that of a converted model must for the weights of its source."""
    assert options.target is not None
    card = json.loads((options.target / "card.json").read_text())
    spec = made_backbones.load(
        record, replace(options, target=options.target / "net.blocks", expected_weights=None)
    ).spec
    return made_backbones.Blocks(replace(spec, weights=card["weights"]), 1.0)


def test_what_the_card_of_a_folder_says_is_not_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "converted"
    folder.mkdir()
    (folder / "net.blocks").write_text("2.5")
    (folder / "card.json").write_text('{"weights": "sha256:1"}')
    monkeypatch.setattr("made_backbones.folder_loader", folder_loader, raising=False)
    monkeypatch.setattr(made_backbones, "RECORD", replace(made_backbones.RECORD, loader="made_backbones:folder_loader"))
    made_backbones.install(monkeypatch)
    mine = resolve(f"blocks:{folder}")
    assert find_backbone(stored(mine)).spec == mine.spec
    (folder / "net.blocks").write_text("9.9")
    with pytest.raises(InputError, match=r"converted', which has changed \(its bytes\)"):
        find_backbone(stored(mine))


def test_a_python_file_is_run_as_it_was_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python would run a compiled file beside it without looking at the source."""
    file = tmp_path / "my.py"
    file.write_text("open('RUN', 'w')\n" + OWN)
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(file), doraise=True, invalidation_mode=mode)
    file.write_text(OWN)
    assert load_backbone(f"python:{file}:means").spec.embed_dim == 3
    assert not (tmp_path / "RUN").exists()
    mine = resolve("python:my.py:other")
    assert remembered.recall(mine.spec.revision).reference == f"python:{file}:other"  # type: ignore[union-attr]
    monkeypatch.chdir("/")
    assert find_backbone(stored(mine)).spec == mine.spec
    file.write_text("open('RUN', 'w')\n" + OWN)
    with pytest.raises(InputError, match=r"which has changed \(its bytes\): name .*--backbone-file FILE\.py"):
        find_backbone(stored(mine))
    assert not Path("/RUN").exists()


def test_a_file_of_heads_is_run_as_it_is(tmp_path: Path) -> None:
    from benchmarks.heads.base import load_file

    file = tmp_path / "heads.py"
    file.write_text("which = 'compiled'\n")
    py_compile.compile(str(file), doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    file.write_text("which = 'source'\n")
    assert load_file(file).which == "source"


def test_files_that_change_while_they_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "net.blocks"
    file.write_text("2.5")

    def swapped(record: BackboneRecord, options: LoadOptions) -> Any:
        backbone = made_backbones.load(record, options)
        file.with_name("new").write_text("2.5")
        os.replace(file.with_name("new"), file)
        return backbone

    monkeypatch.setattr("made_backbones.swapped", swapped, raising=False)
    monkeypatch.setattr(made_backbones, "RECORD", replace(made_backbones.RECORD, loader="made_backbones:swapped"))
    made_backbones.install(monkeypatch)
    with pytest.raises(BackboneError, match=r"net\.blocks' was changed while it was loaded: load it again"):
        load_backbone(f"blocks:{file}")


@pytest.mark.parametrize("mode", [0o602, 0o620])
def test_a_record_that_others_can_write_is_not_read(mode: int, tmp_path: Path, settings: Path) -> None:
    (tmp_path / "net.blocks").write_text("2.5")
    mine = resolve("blocks:net.blocks")
    (settings / remembered.FILE).chmod(mode)
    with pytest.raises(InputError, match=r"backbones\.json' can't be used \(others can write it\)"):
        remembered.recall(mine.spec.revision)


HOSTILE: Mapping[str, Any] = {
    "reference": [
        "blocks:../net.blocks",
        "savedmodel:gift",
        "module:function",
        "",
        "x" * 10_000,
        "blocks:\0",
        "python:",
    ],
    "files_hash": ["", "0" * 64, "x"],
    "size": [-1, 2**70, True],
    "name": ["../x", "X", ""],
    "tensor": [2**70, -1],
    "weights": ["/etc/passwd", "relative", "\0"],
    "precision": ["fp1", ""],
    "preprocessing": [{"height": 10**9}, {"later": 1}, {}],
    "weights_hash": ["", "sha256:0"],
}


@pytest.mark.parametrize("field", HOSTILE)
def test_every_field_of_the_record_is_checked(field: str, tmp_path: Path, settings: Path) -> None:
    """It is the person's, and may be damaged all the same."""
    (tmp_path / "net.blocks").write_text("2.5")
    mine = resolve("blocks:net.blocks", tensor=2)
    path = settings / remembered.FILE
    record = json.loads(path.read_text())
    for value in HOSTILE[field]:
        entry = record["backbones"][mine.spec.revision] | {field: value}
        path.write_text(json.dumps({"format": 1, "backbones": {mine.spec.revision: entry}}))
        with suppress(InputError, BackboneError):  # nothing else
            assert find_backbone(stored(mine)).spec.revision == mine.spec.revision
