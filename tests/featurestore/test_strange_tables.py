"""Tables, settings and collection types from strangers: a usable store, or one sentence; nothing floods a terminal."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from support import CountingBackbone, edit_record, jpeg

from featurestore import FeatureStore
from featurestore.catalog import recipe
from featurestore.commands.cli import cli
from featurestore.errors import InputError, IntegrityError, QueryError

pytestmark = pytest.mark.shell_file

FILES = [f"{number}.jpg" for number in range(4)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number, name in enumerate(FILES):
        (tmp_path / "images" / name).write_bytes(jpeg(number, size=(16, 16)))
    return tmp_path / "images"


@pytest.fixture
def fresh(tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "store")


def table(folder: Path, **columns: object) -> Path:
    pq.write_table(pa.table({"file": FILES, **columns}), folder / "t.parquet")
    return folder / "t.parquet"


COLUMNS = ("{label}", "{title}", "{backbone}", "{embed_dim}", "{origin}", "{x}", "select", 'a"b', "a';b", "rowid")
RESERVED = ("ImgId", "imgname", "RowKey", "rowproblem", "embedding")


@pytest.mark.parametrize("name", COLUMNS + RESERVED)
def test_a_label_column_of_any_name(name: str, images: Path, fresh: FeatureStore, tmp_path: Path) -> None:
    path = table(tmp_path, **{name: ["a", "b", "a", "b"], "title": ["t"] * 4})
    report = fresh.ingest(images=images, metadata=path, key="file", label=name)
    assert report.labels == {"a": 2, "b": 2}
    assert fresh.label == (f"{name}_" if name in RESERVED else name)
    fresh.embed(CountingBackbone())
    assert len(fresh.refresh().query("FROM labeled_counting")) == 4


def test_a_key_column_that_the_store_has_too(images: Path, fresh: FeatureStore, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("ImgName,label\n0.jpg,a\n1.jpg,b\n")
    assert fresh.ingest(images=images, metadata=tmp_path / "t.csv", key="ImgName").labels == {"a": 1, "b": 1}


def test_columns_of_files_and_of_a_table_that_differ_by_case(fresh: FeatureStore, tmp_path: Path) -> None:
    pictures = [{"bytes": jpeg(number, size=(16, 16)), "path": name} for number, name in enumerate(FILES)]
    said = {"Label": ["p"] * 4, "IMGID": [9] * 4, "Split": ["test"] * 4, "extra": [1, 2, 3, 4]}
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"image": pictures, **said}), tmp_path / "data" / "train-0.parquet")
    (tmp_path / "t.csv").write_text("file,label\n0.jpg,a\n1.jpg,b\n2.jpg,a\n3.jpg,b\n")
    fresh.ingest(images=tmp_path / "data", metadata=tmp_path / "t.csv", key="file", label="label")
    found = fresh.refresh().query("FROM collection")
    assert found.column_names == ["ImgId", "ImgName", "file", "label", "IMGID_", "Split", "extra"]
    assert found["label"].to_pylist() == ["a", "b", "a", "b"]
    assert set(found["Split"].to_pylist()) == {"test"}


def test_json_has_no_nan(images: Path, fresh: FeatureStore, tmp_path: Path) -> None:
    path = table(tmp_path, x=[1.0, float("nan"), float("inf"), 2.0], lists=[[float("nan")], [], [1.0], None])
    arguments = ["ingest", "--store", str(fresh.path), "--images", str(images), "--metadata", str(path)]
    done = CliRunner().invoke(cli, [*arguments, "--dry-run", "--json"])

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    first = json.loads(done.stdout, parse_constant=refuse)["first"]
    assert [(row["x"], row["lists"]) for row in first] == [(1.0, [None]), (None, []), (None, [1.0])]


def test_whatever_happens_a_terminal_shows_at_most_60_lines(images: Path, fresh: FeatureStore, tmp_path: Path) -> None:
    header = "file,label," + ",".join(["c"] * 500)
    for number in range(100):
        (images / f"broken\x1b[31m{number}.jpg").write_bytes(b"no image")
    rows = [f"{name},{'a' * 5000}" + ",1" * 500 for name in FILES]
    rows += [f"nowhere\x1b{number}.jpg,b" + ",1" * 500 for number in range(100)]
    (tmp_path / "t.csv").write_text("\n".join([header, *rows]))
    arguments = ["--store", str(fresh.path), "--images", str(images), "--metadata", str(tmp_path / "t.csv")]
    arguments += ["--key", "file"]
    for command in (
        ["ingest", *arguments, "--dry-run"],
        ["ingest", *arguments],
        ["info", *arguments[:2], "--problems"],
    ):
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0
        lines = done.stdout.splitlines()
        assert len(lines) <= 60
        assert max(map(len, lines)) < 1500
        assert "\x1b" not in done.stdout
        assert any("more" in line for line in lines)


def test_many_contradicting_labels_of_one_image_take_little_space(
    images: Path, fresh: FeatureStore, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_text("file,label\n" + "".join(f"0.jpg,class {i}\n" for i in range(5000)))
    report = fresh.ingest(images=images, metadata=tmp_path / "t.csv", key="file", label="label")
    assert report.problems["contradicting labels"] == 5000
    detail = fresh.info(problems=True)["problems"][0]["detail"]
    assert detail == "class 0, class 1, class 2, class 3, class 4, and 4,995 more"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"label": "{title}", "title": "x"}, "has no column"),
        ({"label": 'label" IS NULL OR 1=1 --', "{x}": "y", "": "z", "a|b": "q"}, "has no column"),
        ({"asked": 3}, "its setting asked is '3', expected a list"),
        ({"label": 3}, "its setting label is '3', expected a text"),
    ],
)
def test_settings_of_a_stranger(settings: dict[str, object], words: str, images: Path, fresh: FeatureStore) -> None:
    fresh.ingest(images=images)
    edit_record(fresh.path / "state.json", settings=settings)
    with pytest.raises((IntegrityError, QueryError), match=words):
        fresh.refresh().sql("FROM labeled")


class _Broken:
    """An entry point that can't be loaded."""

    name = "broken"

    def load(self) -> object:
        raise RuntimeError("boom\x1b[31m\nsecond line")


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Packages that bring unusable collection types."""
    points = [_Broken(), SimpleNamespace(name="number", load=lambda: 42)]
    monkeypatch.setattr(
        recipe, "entry_points", lambda group, name=None: [one for one in points if name in (None, one.name)]
    )
    for function in (recipe.find_recipe, recipe.recipe_named):
        function.cache_clear()
    yield
    for function in (recipe.find_recipe, recipe.recipe_named):
        function.cache_clear()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("absent", "there is no collection type 'absent'"),
        ("broken", "can't be imported .RuntimeError: boom"),
        ("number", "expected a Collection of that name"),
    ],
)
@pytest.mark.usefixtures("strangers")
def test_a_collection_type_that_cannot_be_used(name: str, words: str, images: Path, fresh: FeatureStore) -> None:
    fresh.ingest(images=images)
    fresh.embed(CountingBackbone())
    edit_record(fresh.path / "state.json", collection=name)
    with fresh.refresh():
        assert len(fresh.sql("FROM embeddings_counting JOIN images USING (ImgId)")) == 4
        with pytest.raises(QueryError, match=words):
            fresh.sql("FROM labeled")
    fresh.refresh()
    for use in (
        fresh.info,
        lambda: fresh.ingest(images=images),
        lambda: fresh.embed(CountingBackbone()),
    ):
        with pytest.raises(InputError, match=words) as caught:
            use()  # type: ignore[operator]
        assert str(caught.value).isprintable()
