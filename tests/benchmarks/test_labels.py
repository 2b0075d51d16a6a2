"""What is no label: it is no class, and how many rows lack one is said wherever a table is."""

import csv
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench_store import IDS, add_backbone, in_this_process, make_store

from benchmarks.heads.registry import find
from benchmarks.models import folder as models
from benchmarks.models.predict import predict_images
from benchmarks.plan.dataset import aligned
from benchmarks.plan.protocols import Protocol
from benchmarks.plan.reading import from_store
from benchmarks.report.page import write_html
from benchmarks.report.tables import notes, tables, tables_as_text
from benchmarks.run import runner
from benchmarks.run.fit import fit
from featurestore import FeatureStore
from featurestore.backbones.base import Preprocessing
from featurestore.catalog import views
from featurestore.errors import InputError


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("labels")).path


@pytest.fixture
def store(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    monkeypatch.setattr("benchmarks.run.execution.computed", in_this_process)
    shutil.copytree(made, tmp_path / "store")
    return FeatureStore(tmp_path / "store")


def labelled(store: FeatureStore, expression: str) -> None:
    views.create(store.path, "own", f"SELECT ImgId, {expression} AS mark FROM labeled")
    store.refresh()


THIRD, HALF = "CASE WHEN ImgId % 3 = 0 THEN", "(ImgId % 2)"


@pytest.mark.parametrize(
    ("expression", "classes"),
    [
        pytest.param(f"{THIRD} 'nan'::DOUBLE ELSE {HALF} END", ("0.0", "1.0"), id="NaN"),
        pytest.param(f"{THIRD} 'nan'::FLOAT ELSE {HALF} END", ("0.0", "1.0"), id="NaN of 32 bits"),
        pytest.param(f"{THIRD} NULL ELSE {HALF} END", ("0", "1"), id="NULL"),
        pytest.param(f"{THIRD} '' ELSE {HALF}::VARCHAR END", ("0", "1"), id="empty text"),
        pytest.param(f"{THIRD} chr(9) || '  ' || chr(160) ELSE {HALF}::VARCHAR END", ("0", "1"), id="blank text"),
        pytest.param(f"{THIRD} ''::ENUM('', 'x', 'y') ELSE ['x', 'y'][1 + {HALF}] END", ("x", "y"), id="blank ENUM"),
        pytest.param(f"{THIRD} NULL ELSE {HALF} = 1 END", ("False", "True"), id="bool"),
        pytest.param(f"{THIRD} NULL ELSE DATE '2020-01-01' + {HALF}::INT END", ("2020-01-01", "2020-01-02"), id="date"),
        pytest.param(f"{THIRD} NULL ELSE ['été', '喜劇'][1 + {HALF}] END", ("été", "喜劇"), id="Unicode"),
        pytest.param(f"{THIRD} NULL ELSE ['NaN', 'None'][1 + {HALF}] END", ("NaN", "None"), id="words are words"),
        pytest.param(f"{THIRD} [] ELSE [{HALF}] END", ("0", "1"), id="empty list"),
        pytest.param(f"{THIRD} [NULL] ELSE [{HALF}] END", ("0", "1"), id="list of NULL"),
        pytest.param(f"{THIRD} NULL ELSE [{HALF}, NULL] END", ("0", "1"), id="NULL in every list"),
        pytest.param(f"{THIRD} [NULL, '', ' '] ELSE [{HALF}::VARCHAR, ''] END", ("0", "1"), id="NULL and blanks"),
        pytest.param(f"{THIRD} ['nan'::DOUBLE] ELSE [{HALF}, 'nan'::DOUBLE] END", ("0.0", "1.0"), id="list of NaN"),
        pytest.param(f"{THIRD} [[NULL]] ELSE [[{HALF}]] END", ("[0]", "[1]"), id="lists in lists"),
    ],
)
def test_what_is_no_label(store: FeatureStore, expression: str, classes: tuple[str, ...]) -> None:
    labelled(store, expression)
    data = from_store(store, "a", view="own", label="mark")
    assert data.classes == classes
    assert (len(data.ids), data.unlabelled, data.missing, data.rare) == (40, 20, 0, 0)
    assert not (data.ids % 3 == 0).any()
    features = store.features("a", view="own", label="mark")
    if data.y.ndim == 1:
        assert features.classes == classes
        assert ((features.y < 0) == (features.ids % 3 == 0)).all()


def test_a_label_of_whole_floats_is_as_before(store: FeatureStore) -> None:
    labelled(store, f"{HALF}::DOUBLE")
    data = from_store(store, "a", view="own", label="mark")
    assert (data.classes, data.unlabelled) == (("0.0", "1.0"), 0)


@pytest.mark.parametrize("nothing", ["NULL", "'nan'::DOUBLE", "' '", "[]::VARCHAR[]", "[NULL]::VARCHAR[]"])
def test_a_column_without_any_label(store: FeatureStore, nothing: str) -> None:
    labelled(store, nothing)
    with pytest.raises(InputError, match="none of the 60 rows of the view 'own' that have an embedding of 'a' has a"):
        from_store(store, "a", view="own", label="mark")


def test_labels_that_are_all_rare_say_so(store: FeatureStore) -> None:
    labelled(store, "[ImgId // 10]")
    with pytest.raises(InputError, match="fewer than 20 rows"):
        from_store(store, "a", view="own", label="mark")


def test_every_row_of_the_view_is_accounted_for(store: FeatureStore) -> None:
    add_backbone(store, "half", 3, rows=30)
    labelled(store, f"CASE WHEN ImgId % 10 = 0 THEN [] WHEN ImgId = 101 THEN ['rare'] ELSE ['x', 'y'][{HALF}:] END")
    alone = from_store(store, "half", view="own", label="mark")
    both = aligned([from_store(store, name, view="own", label="mark") for name in ("a", "half")])
    for data in (alone, *both):
        assert (data.unlabelled, data.rare, data.missing) == (6, 1, 27)
        assert len(data.ids) + data.unlabelled + data.rare + data.missing == len(IDS)


def test_every_table_says_how_many(store: FeatureStore, tmp_path: Path) -> None:
    labelled(store, f"{THIRD} NULL ELSE {HALF} END")
    runner.run(
        store, heads=find(["majority"]), backbones=["a"], protocols=[Protocol("cv", folds=2)], view="own", label="mark"
    )
    (table,) = found = tables(store)
    sentence = "20 rows of the view have no mark and are left out"
    assert (table["n_rows"], table["n_unlabelled"], table["n_rare"]) == (40, 20, 0)
    assert sentence in notes(table)
    for form in ("terminal", "markdown", "latex"):
        assert sentence in tables_as_text(found, form)
    assert json.loads(tables_as_text(found, "json"))[0]["n_unlabelled"] == 20
    (row,) = csv.DictReader(io.StringIO(tables_as_text(found, "csv")))
    assert (row["n_rows"], row["n_unlabelled"]) == ("40", "20")
    write_html(store, found, tmp_path / "page.html")
    assert sentence in (tmp_path / "page.html").read_text("utf-8")


@pytest.mark.parametrize("none", ["NULL", "'nan'::DOUBLE"])
def test_an_image_without_a_label_is_no_labelled_neighbour(
    store: FeatureStore, none: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.run.fit.computed", in_this_process)
    labelled(store, f"{THIRD} {none} ELSE {HALF} END")
    model, card = fit(store, find(["knn"])[0], "a", view="own", label="mark")
    models.write(model, card, tmp_path / "model")
    how = Preprocessing(16, 16)
    spec = SimpleNamespace(revision=card["revision"], preprocessing=how)
    spec.name, spec.embed_dim, spec.pass_size = "a", card["embed_dim"], 1
    backbone = SimpleNamespace(spec=spec, embed=lambda images: store.features("a").X[:1])
    folder = store.sql("SELECT any_value(source) AS f FROM images")["f"][0].as_py()
    (one,) = predict_images([Path(folder, "100.jpg")], models.load(tmp_path / "model"), backbone, store=store, k=60)
    assert len(one.neighbours) == 40
    assert {neighbour["label"] for neighbour in one.neighbours} == set(card["classes"])


def test_one_row_is_one_row(store: FeatureStore) -> None:
    table = {"protocol": "cv", "protocol_text": "", "n_rows": 9, "view": "v", "label": "mark", "synthetic": False}
    table |= {"n_missing": 0, "n_unlabelled": 1, "rows": [], "warnings": [], "task": "multiclass"}
    table |= {"rank_by": "accuracy"}
    assert "1 row of the view has no mark and is left out" in notes(table)


def test_a_row_that_lost_its_label_makes_a_new_record(store: FeatureStore) -> None:
    plan = {"heads": find(["majority"]), "backbones": ["a"], "protocols": [Protocol("cv", folds=2)], "view": "own"}
    views.create(store.path, "own", "SELECT ImgId, Genre1 FROM labeled WHERE ImgId > 110")
    store.refresh()
    (first,) = runner.run(store, **plan)
    fewer = "SELECT ImgId, CASE WHEN ImgId > 110 THEN Genre1 END AS Genre1 FROM labeled"
    views.create(store.path, "own", fewer, replace=True)
    store.refresh()
    (second,) = runner.run(store, **plan)
    assert (second.computed, second.run_id != first.run_id) == (0, True)
    assert tables(store)[0]["n_unlabelled"] == 11
