"""The page: offline, honest about what is synthetic, escaped, and with the figures that are stored."""

import base64
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support import CountingBackbone, huge_png, jpeg, movie, write_metadata

from benchmarks.commands.cli import cli
from benchmarks.heads.registry import find
from benchmarks.plan.protocols import Protocol
from benchmarks.report.gallery import SHOWN, cards, known_images
from benchmarks.report.page import write_html
from benchmarks.report.tables import tables
from benchmarks.results.breakdown import rows_of, verdicts
from benchmarks.results.read import comparison, runs
from benchmarks.run import runner
from benchmarks.run.limits import Limits
from benchmarks.scores.metrics import METRICS
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


def data_of(page: str) -> dict[str, Any]:
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return dict(json.loads(data))


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


def test_titles_are_escaped(bench: FeatureStore, page: str) -> None:
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<script") == page.count("</script>") == 2, "the data and the script"
    assert {one["title"] for one in data_of(page)["images"].values()} == {"<script>alert(1)</script>"}


def test_only_the_script_of_the_page_runs(page: str) -> None:
    """And nothing is loaded: the policy names the hash of the script as the browser computes it."""
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    known = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.split("; ") == [
        *("default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"),
        *(f"script-src 'sha256-{known}'", "base-uri 'none'", "form-action 'none'"),
    ]
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert not re.search(r"<[^<>]* on[a-z]+=", page.partition("<script")[0])


def test_what_the_marks_tell_is_in_the_data(bench: FeatureStore, page: str) -> None:
    data = data_of(page)
    cells = set(re.findall(r'data-cell="([^"]*)"', page))
    assert cells == set(data["cells"])
    # Of cv and study two rows that learn, of each two classes.
    assert len(cells) == 2 * 2 * 2 * 2
    assert set(re.findall(r'<svg [^>]*data-map="([^"]*)"', page)) == set(data["maps"])
    mapped = [{one for ids in layers for one in ids} for layers in data["maps"].values()]
    assert mapped[:2] == [set(range(100, 140))] * 2
    assert all(0 < len(ids) < 40 for ids in mapped[2:]), "the study tests a part"
    pictures = set(map(int, re.findall(r'data-id="(\d+)"', page)))
    for text, ids in data["cells"].values():
        assert len(ids) <= 8
        assert all(one in pictures or data["images"][str(one)]["src"].startswith("data:image/webp") for one in ids)
        assert re.match(r"(Comedy|Drama) predicted (correctly|as Drama|as Comedy): \d+ of \d+ predictions", text)


def test_every_section_stands_there(page: str) -> None:
    for text in (
        "Cross-validation",
        "study&#39;s split",
        "Learning curve",
        "Most surely wrong: ",
        "Doubtful labels: ",
        "Most surely correct: ",
        "Calibration",
    ):
        assert text in page
    # Of cv and study: intervals, differences by accuracy and log loss, cost, three scores by class, two panels of two
    # heads, the surest images, a map by error and one by label; of the curve one.
    assert page.count("<svg") == 2 * (1 + 2 + 1 + 3 + 2 + 2 + 1 + 2) + 1
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
        assert one.reliability.count.sum() == pytest.approx(40)
    judged = verdicts(found)
    assert len(judged) == 40
    assert [one.right for one in judged] == sorted(one.right for one in judged)


def test_what_is_synthetic_says_so_everywhere(bench: FeatureStore, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    rows = []
    from featurestore.collections.images import SYNTHETIC_COMMENT

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


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"


@contextmanager
def replaced(store: FeatureStore, aside: Path, replace: Callable[[Path], object]) -> Iterator[None]:
    """Every poster of ``store`` is what ``replace`` makes in its place."""
    folder = Path(store.sql("SELECT any_value(source) AS f FROM images")["f"][0].as_py())
    folder.rename(aside)
    try:
        folder.mkdir()
        for path in aside.iterdir():
            replace(folder / path.name)
        yield
    finally:
        shutil.rmtree(folder)
        aside.rename(folder)


@pytest.mark.parametrize(
    ("replace", "reason"),
    [
        (lambda path: None, "the file can't be read: No such file or directory"),
        (lambda path: path.write_bytes(huge_png()), "more pixels than the limit of 64000000"),
        (lambda path: path.write_bytes(huge_png(9_000, 9_000)), "9000 × 9000 pixels are over the limit of 64000000"),
        (lambda path: path.write_bytes(POSTSCRIPT), "no image format is known that begins with b'%!PS-Ado'"),
        (lambda path: path.write_bytes(jpeg(1)[:300]), "the image can't be decoded"),
        (os.mkfifo, "the file can't be read: a pipe, socket or device, not a file"),
        (Path.mkdir, "the file can't be read: a folder, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "the file can't be read: a pipe, socket or device, not a file"),
    ],
    ids=["gone", "huge", "large", "PostScript", "cut short", "pipe", "folder", "device"],
)
def test_an_image_that_cannot_be_shown_says_why(
    bench: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, replace: Callable[[Path], object], reason: str
) -> None:
    """And no other program is started to draw it."""
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with replaced(bench, tmp_path / "aside", replace):
        shown = cards(known_images(bench), [(100, ("Drama",)), (101, ("Comedy",))])
    assert [(card.img_id, card.image, card.fault.startswith(reason)) for card in shown] == [
        (100, "", True),
        (101, "", True),
    ]
    assert not (tmp_path / "started").exists()


def test_an_image_that_the_store_does_not_have(bench: FeatureStore) -> None:
    (card,) = cards(known_images(bench), [(7, ("Drama",))])
    assert (card.title, card.image, card.fault) == ("7", "", "no usable image in the store")


def test_a_page_without_images_keeps_their_places(bench: FeatureStore, page: str, tmp_path: Path) -> None:
    posters = page.count('src="data:image/webp')
    assert posters > 2 * SHOWN
    assert 'class="none"' not in page
    with replaced(bench, tmp_path / "aside", lambda path: path.write_bytes(b"<script>")):
        write_html(bench, tables(bench), tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text("utf-8")
    assert text.count('<div class="none">no image file (no image format is known that begins with ') == posters
    assert "data:image/webp" not in text
    images = data_of(text)["images"]
    shown = {one for _, ids in data_of(text)["cells"].values() for one in ids}
    assert all(images[str(one)]["fault"].startswith("no image format is known") for one in shown)
    assert "<script>" not in text.rpartition("<script>")[0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-o", "page.pdf"], "ends with .html or .md"),
        (["-o", "page.md.gz"], "ends with .html or .md"),
        (["-o", "/dev/null"], "is a pipe, socket or device: name a file"),
        (["-o", "no/such/folder/page.html"], "can't be written"),
    ],
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
