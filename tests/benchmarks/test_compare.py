"""`benchmarks.compare` over a store and over arrays: one table, one display, one sentence for every fault."""

import os
import pickle
import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bench_store import IDS, in_this_process, make_store, vectors

import benchmarks
from benchmarks import Comparison, compare
from benchmarks.api import arguments, shown
from benchmarks.api.predictions import from_table
from benchmarks.heads.registry import HEADS, head
from benchmarks.plan.protocols import Protocol
from benchmarks.run import execution, runner
from featurestore import FeatureStore
from featurestore.errors import InputError

HERE = {"folds": 3, "quick": True, "progress": False}
Y = np.where(IDS % 3 == 0, "Comedy", "Drama")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Sixty images with the backbones ``a`` and ``b``."""
    return make_store(tmp_path_factory.mktemp("compare"))


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    """Undone when the module is."""
    with pytest.MonkeyPatch.context() as context:
        yield context


@pytest.fixture(autouse=True, scope="module")
def here(patch: pytest.MonkeyPatch) -> None:
    """Cells are computed in this process."""
    patch.setattr(execution, "computed", in_this_process)
    patch.setattr(runner, "computed", in_this_process)


@pytest.fixture(scope="module")
def both(store: FeatureStore) -> tuple[Comparison, Comparison]:
    """The same vectors and labels from a store and as arrays."""
    heads = ["ridge", "knn", "majority"]
    arrays = {"a": vectors(1), "b": pd.DataFrame(vectors(2))}
    return compare(store, heads=heads, **HERE), compare(arrays, Y, heads=heads, **HERE)


def test_arrays_and_store_give_the_same_table(both: tuple[Comparison, Comparison]) -> None:
    stored, given = (one.to_pandas() for one in both)
    same = [name for name in stored if name not in ("fit_seconds", "predict_ms", "synthetic")]
    pd.testing.assert_frame_equal(stored[same], given[same])
    assert len(stored) == 6
    assert {"backbone", "head", "accuracy", "low", "high", "log_loss"} <= set(stored)
    pd.testing.assert_frame_equal(both[0].differences(), both[1].differences())
    assert both[0].best == both[1].best
    columns = ["backbone", "head", "repeat", "fold", "y"]
    first, second = (one.predictions() for one in both)
    pd.testing.assert_frame_equal(first[columns], second[columns])
    assert (first["ImgId"] - 100).tolist() == second["ImgId"].tolist()


def test_best_and_differences_say_what_the_table_says(both: tuple[Comparison, Comparison]) -> None:
    comparison = both[0]
    rows = [row for row in comparison.table["rows"] if row["head"] != "majority"]
    best = comparison.best
    assert (best.backbone, best.head, best.score) == (rows[0]["backbone"], rows[0]["head"], rows[0]["accuracy"])
    assert best.interval == tuple(rows[0]["interval"])
    assert set(best.best_set) == {f"{row['backbone']}/{row['head']}" for row in rows if row["in_best_set"]}
    frame = comparison.differences()
    assert frame.attrs == {"reference": "a/ridge", "metric": "accuracy"}
    assert len(frame) == 5
    reference = next(row for row in comparison.table["rows"] if row["reference"])
    for row in frame.to_dict("records"):
        own = next(
            one for one in comparison.table["rows"] if (one["backbone"], one["head"]) == (row["backbone"], row["head"])
        )
        assert row["difference"] == pytest.approx(own["accuracy"] - reference["accuracy"], abs=0.02)


def test_it_prints_as_the_table(both: tuple[Comparison, Comparison]) -> None:
    for comparison in both:
        text = repr(comparison)
        assert text.startswith("cv: stratified 3-fold")
        assert re.search(r"^a +ridge .*0\.\d{3}", text, re.M)


def test_a_plot_is_shown_and_kept(both: tuple[Comparison, Comparison], tmp_path: Path) -> None:
    for comparison in both:
        drawing = comparison.plot()
        assert drawing._repr_svg_() == drawing.svg
        assert drawing.svg in drawing._repr_html_()
        assert all(name in drawing.svg for name in ("ridge", "knn", "accuracy"))
        assert "SVG" in repr(drawing)
        drawing.save(tmp_path / "chart.svg")
        assert (tmp_path / "chart.svg").read_text() == drawing.svg
        with pytest.raises(InputError, match=r"ends with \.svg"):
            drawing.save(tmp_path / "chart.png")


def test_its_predictions_are_a_table_for_the_statistics(both: tuple[Comparison, Comparison]) -> None:
    found = from_table(both[1].predictions())
    assert set(found.rows) == {f"{b}/{h}" for b in "ab" for h in ("ridge", "knn", "majority")}
    table = both[1].to_pandas().set_index(["backbone", "head"])
    for name, row in found.rows.items():
        assert row.correct.mean() == pytest.approx(table.loc[tuple(name.split("/")), "accuracy"])


def test_a_run_is_loaded_by_its_id_or_the_newest(store: FeatureStore, both: tuple[Comparison, Comparison]) -> None:
    run_id = both[0].table["run_id"]
    assert store.sql("SELECT run_id FROM bench_runs")["run_id"].to_pylist() == [run_id], "the open store is refreshed"
    quick = compare(str(store.path), heads="lda", backbones="a", **HERE)
    assert [row["head"] for row in quick.table["rows"]] == ["lda"], "what was asked for alone"
    again = Comparison.load(store.path, run_id[:-2])
    assert again.table == both[0].table
    newest = Comparison.load(store)
    assert {row["head"] for row in newest.table["rows"]} == {"lda", "ridge", "knn", "majority"}
    assert {row["head"] for row in newest.predictions().to_dict("records")} == {"lda", "ridge", "knn", "majority"}
    for one in (again, both[1]):
        copied = pickle.loads(pickle.dumps(one))
        assert copied.table == one.table
        pd.testing.assert_frame_equal(copied.predictions(), one.predictions())
    with pytest.raises(InputError, match="has no run 'nothing'"):
        Comparison.load(store, "nothing")


def test_it_is_shown_as_a_table_and_as_a_page(store: FeatureStore, tmp_path: Path) -> None:
    asked = {"heads": "ridge", **HERE}
    both = compare(store, backbones="a", **asked), compare(vectors(1), Y, **asked)
    (tmp_path / "old.html").write_text("old")
    page = both[1].to_html(tmp_path / "old.html")
    assert (tmp_path / "old.html").read_text() == page
    assert page.lstrip().startswith("<!doctype html>")
    gallery = '<div class="images">'
    assert gallery not in page, "rows of arrays have no images"
    assert gallery in both[0].to_html()
    for comparison in both:
        table = comparison._repr_html_()
        assert "cv: stratified 3-fold" in table
        assert "<td>ridge</td>" in table
        assert "SYNTHETIC" not in table
        assert len(table) < 10_000
    strange = replace(both[0], table={**both[0].table, "synthetic": True, "label": "<b>", "warnings": ["<script>"]})
    table = strange._repr_html_()
    assert '<span class="mark">SYNTHETIC</span>' in table
    assert "&lt;script&gt;" in table
    assert "by &lt;b&gt;" in table
    assert "<script" not in table
    many = replace(both[0], table={**both[0].table, "rows": both[0].table["rows"] * 40})._repr_html_()
    assert (many.count("<td>ridge</td>"), "25 more rows" in many) == (15, True)
    with pytest.raises(InputError, match="can't be written to"):
        both[0].to_html(tmp_path / "none" / "x.html")


def test_heads_of_every_kind_and_a_protocol_as_an_object() -> None:
    names = []

    @head("mine", random=False)
    def mine(*, seed: int, share: float = 0.1) -> Any:
        from sklearn.naive_bayes import GaussianNB

        names.append(share)
        return GaussianNB(var_smoothing=share)

    heads = [mine, HEADS["ridge"], "knn"]
    protocol = Protocol("cv", folds=2)
    comparison = compare(vectors(1), Y, heads=heads, protocol=protocol, reference="mine", quick=True, progress=False)
    assert {row["head"]: row["failed"] for row in comparison.table["rows"]} == {"mine": 0, "ridge": 0, "knn": 0}
    assert comparison.table["reference"] == "X/mine"
    assert comparison.table["rows"][0]["cells"] == 2


def test_a_changed_head_of_a_notebook_is_another_head(tmp_path: Path) -> None:
    def made(share: float) -> Any:
        @head("mine", random=False)
        def mine(*, seed: int) -> Any:
            from sklearn.naive_bayes import GaussianNB

            return GaussianNB(var_smoothing=share)

        return mine

    hashes = []
    for number, share in enumerate((0.1, 0.1, 0.2)):
        (tmp_path / str(number)).mkdir()
        (spec,) = arguments.heads_of(made(share), tmp_path / str(number))
        hashes.append(spec.code_hash)
        assert spec.build(seed=0).var_smoothing == share
    assert hashes[0] == hashes[1] != hashes[2]


def test_several_labels_groups_and_a_given_split() -> None:
    X, tags = vectors(1), [["dark", "old"] if one % 3 else ["bright"] for one in IDS]
    several = compare(X, tags, heads=["ridge"], **HERE)
    assert (several.metric, several.table["task"], several.table["classes"]) == (
        "map",
        "multilabel",
        ["bright", "dark", "old"],
    )
    assert several.best.interval is None
    assert "mAP" in several.plot().svg
    sides = ["train" if one % 4 else "test" for one in range(60)]
    given = compare(X, Y, heads="ridge", protocol="given", split=sides, groups=IDS // 2, quick=True, progress=False)
    assert given.table["leaks"] == 15
    labels = [None if one == 100 else label for one, label in zip(IDS, Y, strict=True)]
    less = compare(X, labels, heads="ridge", label="genre", **HERE)
    assert (less.table["n_rows"], less.table["n_unlabelled"], less.table["label"]) == (59, 1, "genre")
    assert less.predictions()["ImgId"].min() == 1, "ids stay the rows of X"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"heads": "knm"}, "there is no head 'knm': did you mean 'knn'"),
        ({"heads": [len]}, "got len as a head, expected a name"),
        (
            {"heads": [HEADS["knn"], replace(HEADS["knn"], parameters={"ks": (1,)})]},
            "two different heads of the name 'knn'",
        ),
        ({"protocol": "nestd"}, "there is no protocol 'nestd': did you mean 'nested'"),
        ({"protocol": 3}, "there is no protocol '3'"),
        ({"folds": 1}, "got 1 as folds, expected a whole number, 2 or more"),
        ({"repeats": 0, "quick": False}, "got 0 as repeats"),
        ({"seed": -1}, "got -1 as seed, expected a whole number, 0 to 2,147,483,647"),
        ({"seeds": 1.5}, "got 1.5 as seeds"),
        ({"workers": 0}, "got 0 as workers"),
        ({"memory_limit": 3}, r"got 3 as memory_limit \(MB\)"),
        ({"time_limit": 0}, "got a time limit of 0"),
        ({"time_limit": "1 h"}, "got '1 h' as time_limit"),
        ({"split": ["train"] * 60}, "got a split for the protocol cv"),
        ({"split": "side", "protocol": "given"}, "got str as split"),
        ({"reference": "lda"}, "got 'lda' as the reference"),
        ({"backbones": ["a"]}, "got backbones for arrays"),
        ({"view": "mine"}, "got view for arrays"),
        ({"label": 3}, "got 3 as label, expected a name"),
        ({"backbones": ["a", ""]}, "got '' as backbones, expected a name"),
        ({"y": None}, "got X without labels"),
        ({"y": Y[:-1]}, r"y has the shape \(59,\)"),
        ({"y": ["Drama"] * 60}, "y has one class only"),
        ({"y": np.arange(60) / 7}, "y has 60 different values"),
        ({"y": [None] * 60}, "none of the 60 rows has a label"),
        ({"y": vectors(1)}, "holds other values than 0 and 1"),
        ({"data": vectors(1)[0]}, r"X has the shape \(4,\)"),
        ({"data": {}}, "got no matrix"),
        ({"data": {"a": vectors(1), "b": vectors(2)[:9]}}, "a has 60 rows and b has 9"),
        ({"data": {3: vectors(1)}}, "got '3' as the name of a matrix"),
        ({"data": {"a": np.full((60, 4), np.nan)}}, "60 rows of a, the first is row 0, have a value that is NaN"),
        ({"data": np.full((60, 4), 1e300)}, "too large for float32"),
        ({"data": np.full((60, 4), "x")}, "X holds <U1, expected numbers"),
        ({"groups": [1] * 9}, r"groups has the shape \(9,\)"),
        ({"groups": [1] * 59 + [None]}, "groups has no value in row 59"),
        ({"groups": [1] * 60}, "fewer than the 3 folds"),
        ({"data": "nowhere"}, "leave y out"),
    ],
)
def test_a_fault_is_one_sentence(arguments: dict[str, Any], sentence: str) -> None:
    given = {"data": vectors(1), "y": Y, "heads": ["ridge"], **HERE, **arguments}
    with pytest.raises(InputError, match=sentence):
        compare(given.pop("data"), given.pop("y"), **given)


def test_a_comparison_without_a_result_says_why(patch: pytest.MonkeyPatch) -> None:
    @head("broken", random=False)
    def broken(*, seed: int) -> Any:
        raise ValueError("no luck")

    comparison = compare(vectors(1), Y, heads=broken, **HERE)
    assert "no luck" in repr(comparison)
    assert (len(comparison.to_pandas()), len(comparison.differences())) == (1, 0)
    with pytest.raises(InputError, match=r"no head has a result: .*no luck"):
        _ = comparison.best


def test_nothing_is_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    compare(vectors(1), Y, heads="ridge", **HERE).predictions()
    assert os.listdir(tmp_path) == []

    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "computed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compare(vectors(1), Y, heads="ridge", **HERE)
    assert os.listdir(tmp_path) == []


def test_progress_goes_where_it_is_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(shown, "in_notebook", lambda: True)
    compare(vectors(1), Y, heads="ridge", **{**HERE, "progress": True})
    out, err = capsys.readouterr()
    assert out.endswith("\rbench: 3 of 3 cells\n")
    assert err == ""


def test_the_package_shows_its_public_names_alone() -> None:
    assert dir(benchmarks) == ["Comparison", "compare", "head", "significance"]
    assert benchmarks.compare.__doc__
