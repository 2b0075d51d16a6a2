"""Bundles are opened by other tools as they are: `datasets.load_dataset` by the card, mlcroissant by croissant.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import CountingBackbone, needs

from featurestore import FeatureStore, open_bundle

HOSTILE = "a `b` <c>/|d\\"
STRANGE = f"""
SELECT *, CASE WHEN ImgId % 2 = 0 THEN 1 END AS "{HOSTILE}", [1.5::FLOAT] AS floats, TRUE AS yes,
DATE '2020-01-02' AS day, TIMESTAMP '2020-01-02 03:04:05' AS "at", {{'a': 1}} AS struct, 1.5::DECIMAL(5, 2) AS decimal,
['x', 'y'] AS words FROM labeled
"""


@pytest.fixture(scope="module")
def folder(kept_store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of one backbone, and one of two with columns of many types."""
    folder = tmp_path_factory.mktemp("bundles")
    kept_store.embed(CountingBackbone(name="other", weights="<b>|"))
    kept_store.create_view("strange", STRANGE)
    kept_store.export("counting", folder / "plain", format="bundle", label="Genre1")
    kept_store.export(["counting", "other"], folder / "strange", format="bundle", view="strange", label="Genre1")
    return folder


def document(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "croissant.json").read_text("utf-8")))


def matrix(rows: Any) -> np.ndarray:
    return np.array([list(row) for row in rows], np.float32)


def test_hugging_face_opens_a_bundle(folder: Path, tmp_path: Path) -> None:
    needs("datasets")
    import datasets

    datasets.disable_progress_bars()
    features = open_bundle(folder / "plain")
    found = datasets.load_dataset(str(folder / "plain"), split="train", cache_dir=str(tmp_path))
    assert found.features["embedding"] == datasets.List(datasets.Value("float32"), length=16)
    np.testing.assert_array_equal(matrix(found["embedding"]), features.X)
    assert list(found["Genre1"]) == features.table["Genre1"].to_pylist()
    rows = datasets.load_dataset(str(folder / "plain"), "rows", split="train", cache_dir=str(tmp_path))
    assert list(rows["duplicate_group"]) == features.groups.tolist()
    strange = datasets.load_dataset(str(folder / "strange"), split="train", cache_dir=str(tmp_path))
    assert len(strange) == 20
    assert {HOSTILE, "counting", "other"} <= set(strange.column_names)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning", "ignore::UserWarning")
def test_mlcroissant_opens_a_bundle(folder: Path) -> None:
    needs("mlcroissant")
    import mlcroissant

    for name in ("plain", "strange"):
        features = open_bundle(folder / name)
        found = mlcroissant.Dataset(folder / name / "croissant.json")
        assert not found.metadata.ctx.issues.errors
        records = list(found.records("features"))
        assert [record["features/ImgId"] for record in records] == features.ids.tolist()
        columns = ["embedding"] if name == "plain" else ["counting", "other"]
        vectors = [matrix(record[f"features/{column}"] for record in records) for column in columns]
        np.testing.assert_array_equal(np.hstack(vectors), features.X)
        assert [record["rows/duplicate_group"] for record in found.records("rows")] == features.groups.tolist()
    assert records[0]["features/words"] == [b"x", b"y"]
    assert [record["features/a%20%60b%60%20%3Cc%3E%2F%7Cd%5C"] for record in records[:2]] == [None, 1]


def test_croissant_describes_the_files(folder: Path) -> None:
    found = document(folder / "strange")
    assert found["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    manifest = json.loads((folder / "strange" / "manifest.json").read_text())
    files = {file["contentUrl"]: file for file in found["distribution"]}
    assert {name: file["sha256"] for name, file in files.items()} == manifest["files"]
    assert files["rows.parquet"]["contentSize"] == f"{(folder / 'strange' / 'rows.parquet').stat().st_size} B"
    (features, rows) = found["recordSet"]
    fields = {field["name"]: field for field in features["field"]}
    assert len({field["@id"] for field in features["field"]}) == len(fields)
    assert (fields["other"]["isArray"], fields["other"]["arrayShape"], fields["other"]["dataType"]) == (
        True,
        "16",
        "cr:Float32",
    )
    assert fields["floats"]["arrayShape"] == "-1"
    types = {name: fields[name]["dataType"] for name in ("ImgId", HOSTILE, "Title", "IMDBScore", "yes", "day", "at")}
    expected = ["sc:Integer", "sc:Integer", "sc:Text", "sc:Float", "sc:Boolean", "sc:Date", "sc:DateTime"]
    assert list(types.values()) == expected
    assert not {"struct", "decimal"} & fields.keys(), "Croissant has no type for them"
    assert fields[HOSTILE]["source"]["extract"] == {"column": HOSTILE}
    assert [field["name"] for field in rows["field"]] == ["ImgId", "content_hash", "duplicate_group"]


def test_the_card_is_escaped_and_says_what_is_inside(folder: Path) -> None:
    card = (folder / "strange" / "README.md").read_text("utf-8")
    assert card.startswith('---\npretty_name: "strange"\n')
    head, body = card.split("---\n", 2)[1:]
    assert r"| a \`b\` \<c\>/\|d\\ | int32 |" in body
    assert r"| other | 16 |" in body
    assert r"| \<b\>\| |" in body
    assert "| embedding | 16 × float |" in (folder / "plain" / "README.md").read_text("utf-8")
    assert "20 rows of the view strange, with the label Genre1" in body
    assert "path: features.parquet" in head
    assert "SYNTHETIC" not in card


def test_what_is_synthetic_says_so(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(3, 4, dtype=np.float32))
    (tmp_path / "ids.txt").write_text("101\n102\n103\n")
    store, name = FeatureStore(tmp_path / "store"), 'made "up"'
    store.import_embeddings(tmp_path / "x.npy", backbone="made", ids=tmp_path / "ids.txt", synthetic=True)
    store.export("made", tmp_path / name, format="bundle", view="images_usable")
    card = (tmp_path / name / "README.md").read_text("utf-8")
    assert card.startswith('---\npretty_name: "made \\"up\\""\n')
    assert "**SYNTHETIC**" in card
    assert '"synthetic"]' in card
    assert "SYNTHETIC" in document(tmp_path / name)["keywords"]


def test_the_card_may_be_edited(kept_store: FeatureStore, tmp_path: Path) -> None:
    lock = kept_store.export("counting", tmp_path / "mine", format="bundle").lock
    for name in ("README.md", "croissant.json"):
        (tmp_path / "mine" / name).write_text("licence: CC0\n")
    assert len(open_bundle(tmp_path / "mine", lock=lock)) == 20
    again = kept_store.export("counting", tmp_path / "mine", format="bundle", force=True)
    assert again.lock == lock
    assert "licence: CC0" not in (tmp_path / "mine" / "README.md").read_text()
