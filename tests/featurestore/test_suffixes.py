"""A file is what its name says, or it is not written."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featurestore import FeatureStore
from featurestore.commands import formats
from featurestore.commands.sql import SUFFIXES
from featurestore.errors import InputError
from featurestore.features import export
from featurestore.features.bundle import write_bundle
from featurestore.files import PAGE, format_of


@pytest.mark.parametrize(
    ("name", "form", "expected"),
    [
        ("x.parquet", None, "parquet"),
        ("X.PARQUET", None, "parquet"),
        ("x.csv.gz", None, "csv.gz"),
        ("x.CSV.gz", None, "csv.gz"),
        ("x.npy", "npy", "npy"),
        ("x", None, "parquet"),
        ("x", "npz", "npz"),
        ("x.", "npz", "npz"),
        ("x.csv.gz", "study-labeled", "study-labeled"),
        ("x.csv.parquet", None, "parquet"),
        ("x.bundle", "bundle", "bundle"),
        ("features-1.2", "bundle", "bundle"),
    ],
)
def test_a_name_that_fits(name: str, form: str | None, expected: str) -> None:
    assert format_of(Path("some.folder", name), form, export.SUFFIXES) == expected


@pytest.mark.parametrize(
    ("name", "form", "sentence"),
    [
        ("x.xlsx", None, r"ends with .parquet or .npz or .npy or .csv.gz$"),
        ("x.csv", None, "ends with .parquet or"),
        ("x.gz", None, "ends with .parquet or"),
        ("x.npz", "parquet", r"for the format parquet, expected a name that ends with .parquet; the endings are"),
        ("x.PARQUET", "npz", "ends with .npz"),
        ("x.xlsx", "parquet", "ends with .parquet"),
        ("x.csv", "study-labeled", "ends with .csv.gz"),
        ("x.parquet", "bundle", "the name of a folder"),
        ("x.csv.gz", "bundle", "the name of a folder"),
    ],
)
def test_a_name_that_does_not(name: str, form: str | None, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        format_of(Path(name), form, export.SUFFIXES)
    assert repr(name) in str(caught.value)


def test_the_first_format_is_the_default() -> None:
    assert format_of(Path("x"), None, SUFFIXES) == "table"
    assert format_of(Path("x"), None, PAGE) == "html"
    assert set(SUFFIXES) == set(formats.FORMS)
    assert set(export.SUFFIXES) == {*export.WRITERS, *export.LAYOUTS, "bundle", "delta"}


@pytest.fixture
def run(invoke: Callable[..., tuple[int, str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A command, in an empty folder."""
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    return invoke


def test_each_file_of_a_query_is_what_it_is_called(run) -> None:  # type: ignore[no-untyped-def]
    for name in ("x.parquet", "x.CSV", "x.json", "x.arrow", "x.txt", "x"):
        code, _, err = run("sql", "SELECT ImgId FROM collection ORDER BY ImgId LIMIT 1", "-o", name)
        assert code == 0, err
    assert pq.read_table("x.parquet")["ImgId"].to_pylist() == [101]
    assert Path("x.CSV").read_text().splitlines() == ['"ImgId"', "101"]
    assert json.loads(Path("x.json").read_text()) == [{"ImgId": 101}]
    assert pa.ipc.open_stream("x.arrow").read_all()["ImgId"].to_pylist() == [101]
    assert "│" in Path("x.txt").read_text()
    assert Path("x").read_text() == Path("x.txt").read_text()


def test_each_file_of_an_export_is_what_it_is_called(run) -> None:  # type: ignore[no-untyped-def]
    for name in ("x.npz", "x.NPY", "x.csv.gz", "x.parquet", "x"):
        code, _, err = run("export", "--backbone", "counting", "-o", name)
        assert code == 0, err
    with np.load("x.npz", allow_pickle=False) as arrays:
        assert arrays["X"].shape == (20, 16)
    assert np.load("x.NPY", allow_pickle=False).shape == (20, 16)
    with gzip.open("x.csv.gz", "rt") as text:
        assert len(text.readlines()) == 21
    assert pq.read_table("x.parquet").equals(pq.read_table("x"))


@pytest.mark.parametrize(
    "command",
    [
        ["sql", "SELECT 1", "-o", "x.xlsx"],
        ["sql", "SELECT 1", "-o", "x.csv.gz"],
        ["sql", "SELECT 1", "--format", "csv", "-o", "x.parquet"],
        ["sql", "SELECT 1", "--format", "table", "-o", "x.md"],
        ["export", "--backbone", "counting", "-o", "x.csv"],
        ["export", "--backbone", "counting", "--format", "npz", "-o", "x.npy"],
        ["export", "--backbone", "counting", "--format", "study-embeddings", "-o", "x.parquet", "--force"],
        ["export", "--backbone", "counting", "--format", "bundle", "-o", "x.npz"],
        ["similar", "--backbone", "counting", "--id", "101", "--html", "x.pdf"],
    ],
)
def test_other_names_are_refused_and_nothing_is_written(run, command: list[str]) -> None:  # type: ignore[no-untyped-def]
    code, out, err = run(*command)
    assert (code, out) == (1, "")
    assert "expected" in err
    assert len(err.splitlines()) == 1
    assert os.listdir() == []


def test_python_refuses_the_same(kept_store: FeatureStore, tmp_path: Path) -> None:
    features = kept_store.features("counting")
    with pytest.raises(InputError, match=r"ends with .npz"):
        export.write(features, tmp_path / "x.parquet", "npz")
    with pytest.raises(InputError, match="the name of a folder"):
        write_bundle(kept_store, features, tmp_path / "x.parquet", view="labeled")
    assert export.write(features, tmp_path / "x.npz") == [tmp_path / "x.npz"]
    assert sorted(path.name for path in tmp_path.glob("x*")) == ["x.npz"]


@pytest.mark.parametrize("label", [(), ("--label", "Genre1")])
def test_every_file_that_is_written_is_named(run, label: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("export", "--backbone", "counting", *label, "-o", "x.npy")
    assert code == 0
    named = out.splitlines()[0].partition(": ")[0].split(", ")
    assert sorted(named) == sorted(os.listdir())


@pytest.mark.parametrize("options", [("sql", "SELECT 1"), ("export", "--backbone", "counting", "--force")])
def test_a_pipe_is_no_place_for_a_file(run, options: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    """A new file would take its place, and with the rights for it that of /dev/null."""
    os.mkfifo("pipe")
    code, _, err = run(*options, "-o", "pipe")
    assert code == 1
    assert "'pipe' is a pipe, socket or device: name a file" in err
    assert Path("pipe").is_fifo()
