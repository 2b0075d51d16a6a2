"""The bench on every layout of a collection: its label, its split, its titles, a model and its answers."""

from pathlib import Path

import pytest
from bench_store import in_this_process
from layouts import BACKBONE, LAYOUTS, NUMBERS, Layout, made
from support import CountingBackbone, jpeg

from benchmarks.commands.cli import cli
from benchmarks.heads.registry import find
from benchmarks.models import folder as models
from benchmarks.models.predict import predict_images
from benchmarks.plan.protocols import Protocol
from benchmarks.plan.reading import from_store
from benchmarks.report.gallery import SHOWN, cards, known_images, verdict_lines
from benchmarks.report.page import write_html
from benchmarks.report.tables import tables
from benchmarks.results.breakdown import rows_of, verdicts
from benchmarks.results.selection import find as find_run
from benchmarks.run import runner
from benchmarks.run.fit import fit
from featurestore import FeatureStore
from featurestore.commands.options import run_command
from featurestore.errors import InputError

COUNT = len(NUMBERS)


@pytest.fixture(scope="module", params=LAYOUTS)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Layout, FeatureStore]:
    layout = LAYOUTS[request.param]
    return layout, made(layout, tmp_path_factory.mktemp("layout"))


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for user in ("execution", "fit"):
        monkeypatch.setattr(f"benchmarks.run.{user}.computed", in_this_process)


def test_a_run_and_its_gallery(opened: tuple[Layout, FeatureStore]) -> None:
    layout, store = opened
    protocol = Protocol("given") if layout.split else Protocol("cv", folds=2, repeats=1)
    (report,) = runner.run(store, protocols=[protocol], heads=find(["majority", "knn"]), backbones=[BACKBONE])
    assert report.failed == 0
    (table,) = tables(store.refresh())
    assert (table["view"], table["label"], table["n_rows"]) == ("labeled", layout.label, COUNT)
    if layout.label == "tags":
        return
    judged = verdicts(rows_of(store, find_run(store, report.run_id)))
    shown = cards(known_images(store), [verdict_lines(one, ["cat", "dog"]) for one in judged])
    known = store.sql(f'SELECT ImgId, coalesce("{layout.title}", ImgName), "{layout.label}" FROM labeled').to_pylist()
    words = {row["ImgId"]: tuple(row.values())[1:] for row in known}
    assert len(shown) == (COUNT // 5 if layout.split else COUNT)
    assert [(card.title, card.lines[0].partition(",")[0]) for card in shown] == [words[card.img_id] for card in shown]
    assert {bool(card.image) for card in shown} == {layout.files}


def test_a_report_speaks_of_the_collection(tmp_path: Path) -> None:
    store = made(LAYOUTS["webdataset"], tmp_path)
    runner.run(store, protocols=[Protocol("cv", folds=2, repeats=1)], heads=find(["majority", "knn"]))
    write_html(store, tables(store.refresh()), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert not [word for word in ("movie", "poster", "genre", "film") if word in text.lower()]
    assert text.count("<figure><img ") == 3 * SHOWN, "of each kind of gallery"
    assert "<b>Animal " in text
    assert "labeled, label species: cat 20, dog 20" in text


def test_what_heads_learn_from(opened: tuple[Layout, FeatureStore]) -> None:
    layout, store = opened
    dataset = from_store(store, BACKBONE, split="split" if layout.split else None)
    assert (dataset.label, len(dataset.ids), dataset.missing, dataset.unlabelled) == (layout.label, COUNT, 0, 0)
    assert set(dataset.classes) - {"tame", "wild"} == {"cat", "dog"}
    assert dataset.split is None or dataset.split.count("test") == COUNT // 5


def test_a_model_and_its_answer(opened: tuple[Layout, FeatureStore], tmp_path: Path) -> None:
    layout, store = opened
    (spec,) = find(["knn"])
    if layout.label == "tags":
        with pytest.raises(InputError, match="tags holds several labels a row"):
            fit(store, spec, BACKBONE)
        return
    fitted, card = fit(store, spec, BACKBONE)
    assert (card["label"], card["classes"], card["n_rows"]) == (layout.label, ["cat", "dog"], COUNT)
    models.write(fitted, card, tmp_path / "knn.model")
    if not layout.files:
        return
    (tmp_path / "new.jpg").write_bytes(jpeg(2, size=(64, 40)))
    model = models.load(tmp_path / "knn.model")
    (answer,) = predict_images([tmp_path / "new.jpg"], model, CountingBackbone(name=BACKBONE), store=store, k=2)
    assert sum(answer.proba.values()) == pytest.approx(1)
    assert answer.neighbours[0]["score"] == pytest.approx(1)
    assert {one["label"] for one in answer.neighbours} <= {"cat", "dog"}


def test_power(
    opened: tuple[Layout, FeatureStore], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    layout, store = opened
    split = ["--split", "split"] if layout.split else []
    monkeypatch.setattr("sys.argv", ["benchmarks", "power", "--store", str(store.path), *split])
    assert run_command(cli, "benchmarks") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{COUNT} rows")
    assert ("given" in out) == layout.split
