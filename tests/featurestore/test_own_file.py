"""A Python file of the user's as a backbone: embed and similar use it, and its bytes are part of the identity."""

import json
import re
from pathlib import Path

import pytest
from support import Collection

from featurestore import FeatureStore, TextBackbone, TextScale, embed_texts, from_callable, load_backbone
from featurestore.commands.cli import cli
from featurestore.errors import BackboneError, FeatureStoreError

MEANS = """
import featurestore

backbone = featurestore.from_callable(
    lambda images: images.mean((1, 2)), name="means", revision="1", embed_dim=3,
    preprocessing=featurestore.Preprocessing(8, 8),
)
"""
TWO = MEANS + MEANS.replace("backbone =", "other =").replace('"means"', '"others"')
OBJECT = """
import numpy as np
from featurestore import BackboneSpec, Preprocessing

class Mine:
    spec = BackboneSpec("mine", 3, Preprocessing(8, 8), "mine-1")

    def embed(self, images):
        return images.mean((1, 2)).astype(np.float32)

mine = also = Mine()
"""
WITH_TEXT = OBJECT.replace("import Backbone", "import TextScale, Backbone").replace(
    "\nmine",
    """
    text_scale = TextScale(2.0)

    def embed_text(self, texts):
        return np.array([[len(text)] * 3 for text in texts], np.float32)

mine""",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my.py"
    path.write_text(MEANS)
    return path


def run(*arguments: object) -> None:
    cli.main([str(argument) for argument in arguments], standalone_mode=False)


def test_embed_and_search_from_the_command_line(
    store: FeatureStore, collection: Collection, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("embed", "--store", store.path, "--backbone-file", file, "--synthetic")
    assert re.match(r"means \(revision \w{16}, 3-d, SYNTHETIC WEIGHTS\): ", capsys.readouterr().out)
    image = collection.images / "103.jpg"
    run("similar", "--store", store.path, "--backbone", "means", "--image", image, "--backbone-file", file, "--json")
    found = json.loads(capsys.readouterr().out)[0]
    assert (found["ImgId"], found["synthetic"]) == (103, True)
    (row,) = store.refresh().query("SELECT source, weights FROM backbones").to_pylist()
    assert row["source"] == "my.py"
    assert row["weights"].startswith("sha256:")
    assert row["weights"].endswith("+callable-1")


def test_a_file_that_is_gone_is_asked_for_by_its_option(
    store: FeatureStore, collection: Collection, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("embed", "--store", store.path, "--backbone-file", file)
    moved = file.rename(file.with_name("moved.py"))
    asked = ("similar", "--store", store.path, "--backbone", "means", "--image", collection.images / "103.jpg")
    with pytest.raises(FeatureStoreError, match=r"which is gone: name its new place with --backbone-file FILE\.py"):
        run(*asked)
    run(*asked, "--backbone-file", moved)
    assert "103" in capsys.readouterr().out


def test_the_bytes_of_the_file_are_part_of_the_revision(file: Path) -> None:
    old = load_backbone(file=file)
    assert load_backbone(f"python:{file}").spec == old.spec
    assert load_backbone("means", file=file, name="renamed", synthetic=True).spec.synthetic
    assert load_backbone(file=file, expected_weights=old.spec.weights).spec == old.spec
    file.write_text(MEANS.replace("images.mean", "2 * images.mean"))
    assert load_backbone(file=file).spec.revision != old.spec.revision
    file.write_text("raise SystemExit('it ran')")
    with pytest.raises(BackboneError, match="has other weights"):
        load_backbone(file=file, expected_weights=old.spec.weights)


def test_a_text_tower_in_the_file(file: Path) -> None:
    file.write_text(WITH_TEXT)
    loaded = load_backbone(file=file)
    assert isinstance(loaded, TextBackbone)
    assert loaded.text_scale == TextScale(2.0)
    assert embed_texts(loaded, ["a", "bc"]).tolist() == [[1, 1, 1], [2, 2, 2]]


def test_a_file_and_a_reference_are_too_much(file: Path) -> None:
    with pytest.raises(BackboneError, match="and the backbone 'hf:vit': leave one out"):
        load_backbone("hf:vit", file=file)
    with pytest.raises(BackboneError, match="defines no backbone 'other': name one of means"):
        load_backbone("other", file=file)


def test_an_object_with_spec_and_embed(file: Path) -> None:
    file.write_text(OBJECT)
    assert load_backbone(file=file).spec.name == "mine"
    assert load_backbone(file=file, name="yours").spec.name == "yours"


def test_one_of_several_by_name(store: FeatureStore, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(TWO)
    run("embed", "--store", store.path, "--backbone-file", file, "--backbone", "others")
    assert "others (revision" in capsys.readouterr().out
    with pytest.raises(FeatureStoreError, match="defines the backbones means, others: choose one by its name"):
        run("embed", "--store", store.path, "--backbone-file", file)
    with pytest.raises(FeatureStoreError, match="defines no backbone 'none': name one of means, others"):
        load_backbone("none", file=file)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "defines no backbone: put this at its top level: backbone = featurestore.from_callable"),
        ("1 / 0", "can't be run: ZeroDivisionError"),
        ("import sys; sys.exit(3)", "can't be run: SystemExit: 3"),
        (OBJECT.replace("def embed", "def compute"), "the backbone 'mine' in .* has no method `embed`"),
        (MEANS.replace("images.mean((1, 2))", "images.mean()"), r"returned \(\) float32, expected \(2, 3\)"),
    ],
)
def test_files_without_a_backbone(file: Path, text: str, sentence: str) -> None:
    file.write_text(text)
    with pytest.raises(BackboneError, match=sentence):
        load_backbone(file=file)


@pytest.mark.parametrize("name", ["none.py", "my.txt"])
def test_what_is_no_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "my.txt").write_text(MEANS)
    with pytest.raises(BackboneError, match=r"expected an existing .py file"):
        load_backbone(file=tmp_path / name)


def test_weights_of_a_function_are_hashed(tmp_path: Path) -> None:
    def made(*files: Path, revision: str = "1") -> str:
        function = lambda images: images.mean((1, 2))  # noqa: E731
        return from_callable(function, name="f", revision=revision, embed_dim=3, weights=files).spec.weights

    one, other = tmp_path / "one.bin", tmp_path / "other.bin"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    assert made() == "callable-1", "as before there were files"
    assert len({made(one), made(other), made(one, other), made(one, revision="2")}) == 4
    first = made(one)
    one.write_bytes(b"3")
    assert made(one) != first
    with pytest.raises(BackboneError, match=r"has its weights in '.*none.bin', which is not a file"):
        made(tmp_path / "none.bin")
