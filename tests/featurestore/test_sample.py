"""The embedded sample: the study's funnel, the same bytes every time, synthetic by name."""

import csv
import hashlib
import os
from pathlib import Path

import pytest
from PIL import Image

from featurestore import FeatureStore
from featurestore.collections.movies.sample import NOTE, write_sample
from featurestore.errors import InputError


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample") / "sample"
    write_sample(folder)
    return folder


def digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            total.update(f"{path.relative_to(folder)}".encode() + path.read_bytes())
    return total.hexdigest()


def test_the_funnel_is_that_of_the_study(sample: Path, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "store")
    report = store.ingest(metadata=sample / "MovieGenre.csv", images=sample / "posters")
    assert (report.steps["rows read"], report.steps["duplicates dropped"], report.steps["movies kept"]) == (
        40_108,
        593,
        39_515,
    )
    assert (report.images_found, report.joined, report.problems.get("without genre", 0), report.labeled) == (
        997,
        997,
        4,
        811,
    )
    assert report.synthetic
    counts = store.sql("SELECT Genre1, count FROM genre_counts").to_pylist()
    assert [row["count"] for row in counts] == [357, 317, 84, 53, 38, 23, 20, 17, 16, 14, 13, 12, 11, 8, 3, 3, 2, 2]
    missing = store.sql(
        "SELECT count(*) - count(IMDBScore), count(*) - count(Genre), count(*) - count(Poster) FROM movies"
    ).to_pylist()[0]
    assert list(missing.values()) == [48, 145, 725]
    assert store.sql("SELECT count(*) AS n FROM images WHERE mode = 'L'")["n"][0].as_py() == 1
    groups = store.sql("SELECT count(DISTINCT duplicate_group) AS n FROM duplicate_groups")["n"][0].as_py()
    assert groups == 997 - 3


def test_posters_have_the_size_of_the_real_ones(sample: Path) -> None:
    for path in list((sample / "posters").iterdir())[:20]:
        with Image.open(path) as image:
            assert image.size == (182, 268)


def test_the_same_bytes_again_in_the_place_of_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "featurestore.collections.movies.sample.GENRES", {"Drama": 20, "Comedy": 10, "Crime": 5, "Horror": 5}
    )
    write_sample(tmp_path / "sample")
    before = digest(tmp_path / "sample")
    write_sample(tmp_path / "sample")
    assert digest(tmp_path / "sample") == before
    assert len(list((tmp_path / "sample" / "posters").iterdir())) == 44


def test_an_interrupt_leaves_no_half_sample(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "sample", on_progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_keeps_the_earlier_sample(sample: Path) -> None:
    before = digest(sample)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(sample, seed=1, on_progress=stop)
    assert digest(sample) == before
    assert list(sample.parent.iterdir()) == [sample]


def test_an_interrupt_between_the_two_renames_puts_the_earlier_sample_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, rename = tmp_path / "sample", os.replace
    (target / "posters").mkdir(parents=True)
    (target / "MovieGenre.csv").write_text("earlier")
    (target / "README.txt").write_bytes(NOTE.encode())

    def stop(source: Path, destination: Path) -> None:
        if ".new." in source.name:
            raise KeyboardInterrupt
        rename(source, destination)

    monkeypatch.setattr(os, "replace", stop)
    monkeypatch.setattr("featurestore.collections.movies.sample._write_posters", lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        write_sample(target)
    assert (target / "MovieGenre.csv").read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("name", ["thesis.txt", "posters/thesis.txt", "store/state.json"])
def test_a_sample_that_holds_something_of_the_users_is_not_replaced(sample: Path, name: str) -> None:
    own = sample / name
    own.parent.mkdir(exist_ok=True)
    own.write_text("years of work")
    try:
        with pytest.raises(InputError, match="holds other files"):
            write_sample(sample)
        assert own.read_text() == "years of work"
    finally:
        own.unlink()
        if own.parent.name == "store":
            own.parent.rmdir()


def test_bad_targets_get_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="can't be written to"):
        write_sample(tmp_path / "file" / "sample")
    (tmp_path / "README.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match="holds other files"):
        write_sample(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InputError, match="current folder"):
        write_sample(Path())


def test_the_metadata_has_the_quirks_of_the_real_file(sample: Path) -> None:
    with (sample / "MovieGenre.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["imdbId", "Imdb Link", "Title", "IMDB Score", "Genre", "Poster"]
    assert [sum(row[column] == "" for row in rows) for column in (3, 4, 5)] == [48, 145, 725]
    titles = [row[2] for row in rows]
    for quirk in (",", '"', "\u00cc"):
        assert sum(quirk in title for title in titles) > 50
    ids = [int(row[0]) for row in rows]
    assert ids != sorted(ids)
    assert {row[1] for row in rows} == {f"https://example.invalid/title/tt{img_id:07d}" for img_id in ids}


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds other files"):
        write_sample(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        write_sample(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
