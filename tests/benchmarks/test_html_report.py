"""The page: offline, honest about what is synthetic, escaped, and with the figures that are stored."""

import re
from pathlib import Path

import pyarrow as pa
import pytest
from support import CountingBackbone, jpeg, movie, write_metadata

from benchmarks import runner
from benchmarks.breakdown import rows_of, verdicts
from benchmarks.cli import cli
from benchmarks.heads.registry import find
from benchmarks.html_report import write_html
from benchmarks.metrics import METRICS
from benchmarks.protocols import Protocol
from benchmarks.queries import comparison, runs
from benchmarks.report import tables
from benchmarks.work import Limits
from featurestore import FeatureStore
from featurestore.commands.options import run_command


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Forty posters with one dangerous title, three protocols run."""
    folder = tmp_path_factory.mktemp("report")
    images = folder / "posters"
    images.mkdir()
    rows = []
    for i in range(40):
        (images / f"{100 + i}.jpg").write_bytes(jpeg(i))
        rows.append(movie(100 + i, "Drama" if i % 3 else "Comedy", "<script>alert(1)</script>"))
    store = FeatureStore(folder / "store")
    store.ingest(metadata=write_metadata(folder / "m.csv", rows), images=images)
    store.embed(CountingBackbone())
    runner.run(
        store,
        heads=find(["majority", "knn", "ridge"]),
        protocols=[Protocol("cv", folds=2, repeats=2), Protocol("study"), Protocol("learning-curve", folds=2)],
        limits=Limits(workers=1),
        cost=True,
    )
    return store


@pytest.fixture(scope="module")
def page(bench: FeatureStore) -> str:
    path = bench.path / "page.html"
    write_html(bench, tables(bench), path)
    return path.read_text("utf-8")


def test_it_needs_no_network(page: str) -> None:
    outside = [url for url in re.findall(r'(?:src|href)\s*=\s*"([^"]+)"', page) if not url.startswith(("#", "data:"))]
    assert outside == []
    assert "@import" not in page
    assert "url(http" not in page


def test_titles_are_escaped(page: str) -> None:
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_every_section_stands_there(page: str) -> None:
    for text in (
        "Cross-validation",
        "study&#39;s split",
        "Learning curve",
        "Predicted wrongly by most heads",
        "Calibration",
    ):
        assert text in page
    # Of cv and study: intervals, cost, three scores by class, and two panels of two heads; of the curve one.
    assert page.count("<svg") == 2 * (1 + 1 + 3 + 2 + 2) + 1
    assert page.count("What it costs</h3>") == 2
    assert "not significantly different from" in page
    assert 'name="viewport"' in page


def test_the_figures_are_those_of_the_store(bench: FeatureStore, page: str) -> None:
    for table in tables(bench):
        for row in table["rows"]:
            assert f"<td>{row['accuracy']:.3f}</td>" in page


def test_the_breakdown_agrees_with_the_table(bench: FeatureStore) -> None:
    run = runs(bench, protocol="cv")[0]
    found = rows_of(bench, run)
    for row in comparison(bench, run):
        one = found[row["backbone"], row["head"]]
        assert len(one.y) == 80, "forty images in each of two repeats"
        assert METRICS["accuracy"].function(one.y, one.proba) == pytest.approx(row["accuracy_pooled"])
        assert one.per_class["support"].tolist() == [14, 26]
        assert one.confusion.sum() == 80
        assert one.reliability[:, 0].sum() == 80
    judged = verdicts(found)
    assert len(judged) == 40
    assert [one.right for one in judged] == sorted(one.right for one in judged)


def test_what_is_synthetic_says_so_everywhere(bench: FeatureStore, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    rows = []
    from featurestore.images import SYNTHETIC_COMMENT

    for i in range(12):
        content = jpeg(i)
        comment = b"\xff\xfe" + (len(SYNTHETIC_COMMENT) + 2).to_bytes(2, "big") + SYNTHETIC_COMMENT
        (drawn / f"{100 + i}.jpg").write_bytes(content[:2] + comment + content[2:])
        rows.append(movie(100 + i, "Drama" if i % 2 else "Comedy"))
    store.ingest(metadata=write_metadata(tmp_path / "m.csv", rows), images=drawn)
    store.embed(CountingBackbone())
    runner.run(store, heads=find(["knn"]), protocols=[Protocol("cv", folds=2)], limits=Limits(workers=1))
    write_html(store, tables(store), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "<title>SYNTHETIC" in text
    assert "SYNTHETIC data or weights" in text
    assert all(row["synthetic"] for table in tables(store) for row in table["rows"])
    assert text.count("SYNTHETIC") >= 5


def test_images_that_are_gone_are_counted(bench: FeatureStore, tmp_path: Path) -> None:
    folder = Path(bench.sql("SELECT any_value(folder) AS f FROM images")["f"][0].as_py())
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    try:
        for path in kept:
            path.unlink()
        write_html(bench, tables(bench), tmp_path / "page.html")
    finally:
        for path, content in kept.items():
            path.write_bytes(content)
    text = (tmp_path / "page.html").read_text("utf-8")
    assert "images before these can&#39;t be read any more" in text or "images before these can't be read" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [(["-o", "page.pdf"], "ends with .html or .md"), (["-o", "no/such/folder/page.html"], "can't be written")],
)
def test_bad_places(bench: FeatureStore, arguments, sentence, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("sys.argv", ["benchmarks", "report", "--store", str(bench.path), *arguments])
    assert run_command(cli, "benchmarks") == 1
    err = capfd.readouterr().err
    assert sentence in err
    assert "Traceback" not in err


def test_a_store_without_runs(tmp_path: Path, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    store = FeatureStore(tmp_path / "store")
    images = tmp_path / "posters"
    images.mkdir()
    (images / "100.jpg").write_bytes(jpeg(1))
    store.ingest(metadata=write_metadata(tmp_path / "m.csv", [movie(100, "Drama")]), images=images)
    store.append({"other": pa.table({"x": [1]})})
    monkeypatch.setattr("sys.argv", ["benchmarks", "report", "--store", str(store.path)])
    assert run_command(cli, "benchmarks") == 1
    assert "start one with `benchmarks run`" in capfd.readouterr().err
