"""The embedded sample: the study's funnel, the same bytes every time, synthetic by name."""

import hashlib
from pathlib import Path

import pytest
from PIL import Image

from featurestore import FeatureStore
from featurestore.errors import InputError
from featurestore.sample import write_sample


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
    assert (report.rows_read, report.duplicates_dropped, report.movies) == (40_108, 593, 39_515)
    assert (report.images_found, report.joined, report.without_genre, report.labeled) == (997, 997, 4, 811)
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


def test_the_same_bytes_again_in_the_place_of_the_old(sample: Path) -> None:
    before = digest(sample)
    write_sample(sample)
    assert digest(sample) == before


def test_an_interrupt_leaves_no_half_sample(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_sample(tmp_path / "sample", on_progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds other things"):
        write_sample(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        write_sample(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
