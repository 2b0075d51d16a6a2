"""Genres in each form that tables of films have, and the study's own MasterData.csv: there and back."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv
from support import Collection, movie, write_metadata

from featurestore import FeatureStore
from featurestore.collections.movies.genres import LONGEST_LIST, from_master_data, in_one_form
from featurestore.collections.movies.metadata import read_metadata
from featurestore.collections.movies.recipe import MOVIES_SCHEMA
from featurestore.commands.formats import FORMS
from featurestore.errors import MetadataError

LISTS = "genres that are a list as text, such as \"['Comedy', 'Drama']\", are read as lists"
COMMAS = "genres are separated by commas"


def texts(*values: str | None) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.string())])


@pytest.mark.parametrize(
    ("cells", "expected", "notes"),
    [
        ([], [], []),
        (["Drama", "Comedy|Drama", None], ["Drama", "Comedy|Drama", None], []),
        (["Drama||Comedy", "|Drama", "|||"], ["Drama||Comedy", "|Drama", "|||"], []),
        ([" Drama | Comedy ", "  ", "A |B"], ["Drama|Comedy", None, "A|B"], []),
        (["Comedy, Drama", "Crime", ",", "A,,B,"], ["Comedy|Drama", "Crime", None, "A|B"], [COMMAS]),
        (["Toys, Games", "Comedy|Drama"], ["Toys, Games", "Comedy|Drama"], []),
        (["['Comedy', 'Drama']", "['Crime']", "[]", None], ["Comedy|Drama", "Crime", None, None], [LISTS]),
        (['["Comedy","Drama"]', '["Com\\u00e9die", null]'], ["Comedy|Drama", "Comédie"], [LISTS]),
        (["[\"Children's\", 'Drama']", "[None, nan, ' A ']"], ["Children's|Drama", "A"], [LISTS]),
        (["['Toys, Games', 'War']", "Drama, Crime"], ["Toys, Games|War", "Drama, Crime"], [LISTS]),
        (["[Rec]", "['Drama'", '["a", 1]', "[['a']]"], ["[Rec]", "['Drama'", '["a", 1]', "[['a']]"], []),
        (['["\\ud800"]', '["a\\u0000"]'], ['["\\ud800"]', '["a\\u0000"]'], []),
        (["[" * 9_000, "['" + "a" * LONGEST_LIST + "']"], ["[" * 9_000, "['" + "a" * LONGEST_LIST + "']"], []),
    ],
)
def test_genres_become_one_form(cells: list[str | None], expected: list[str | None], notes: list[str]) -> None:
    found, said = in_one_form(texts(*cells))
    assert (found.to_pylist(), list(said)) == (expected, notes)
    assert found.type == pa.string()


@pytest.mark.parametrize(
    ("three", "genre"),
    [
        (("Drama", "Comedy", "Crime"), "Drama|Comedy|Crime"),
        (("Drama", None, None), "Drama"),
        (("Drama", "Drama", "Crime"), "Short|Drama|Crime"),
        (("Drama", "Drama", None), "Short|Drama"),
        (("Short", "Short", "Drama"), "Short|Short|Drama"),
        (("Short", "Drama", None), "Short|Drama"),
        (("Animation", "Short", None), "Animation|Short"),
        ((None, "Drama", None), "|Drama"),
        ((None, None, "Drama"), "||Drama"),
        (("Drama", None, "Crime"), "Drama||Crime"),
        (("", " ", None), None),
    ],
)
def test_three_columns_become_one(three: tuple[str | None, ...], genre: str | None) -> None:
    found, notes = from_master_data(*(texts(one) for one in three))
    assert found.to_pylist() == [genre]
    assert bool(notes) == (three[0] == "Short" != three[1])


def exported(store: FeatureStore, path: Path) -> Path:
    path.write_bytes(b"".join(FORMS["csv"](store.sql("FROM collection"))))
    return path


def test_a_collection_comes_back_from_its_csv(collection: Collection, tmp_path: Path) -> None:
    genres = ["", "Short", "|Drama", "||A", "A||B", "|||", "Short|Drama", "Short|Drama|A", "Short|Short|A", "Short||A"]
    genres += ["A|Short", "A|A", "A|B|C", "A|B|C|D", '"A"|B,C', "Film-Noir", "Träd|[x]", "Drama", "A|B|Short"]
    rows = [movie(i, genres[n % len(genres)], title=f'T {n}, "x"\ny') for n, i in enumerate(collection.ids)]
    rows[3][1:4] = ["", "", ""]
    rows[4][3] = 1 / 3
    store = FeatureStore(tmp_path / "store")
    store.ingest(metadata=write_metadata(tmp_path / "m.csv", rows), images=collection.images)
    again = FeatureStore(tmp_path / "again")
    report = again.ingest(metadata=exported(store, tmp_path / "MasterData.csv"), images=collection.images)
    assert tuple(report.notes) == (
        "the column 'ImgId' is taken as imdbId",
        "the genres are those of Genre1, Genre2, Genre3, as in the study's MasterData.csv",
    )
    assert again.sql("FROM collection").equals(store.sql("FROM collection"))
    assert again.sql("FROM multilabel").equals(store.sql("FROM multilabel"))
    assert (report.joined, report.labeled) == (24, store.info()["labeled"])


@pytest.mark.real
def test_the_real_collection_comes_back_from_its_csv(real_data: Path, tmp_path: Path) -> None:
    """Of all films: a store needs a poster of each, so the view's split is made here."""
    movies = read_metadata(real_data / "MovieGenre.csv.gz").movies
    split = [[*(text or "").split("|"), "", ""] for text in movies["Genre"].to_pylist()]
    master = {
        "ImgId": movies["imdbId"],
        "Title": movies["Title"],
        "Genre1": [one[1] if one[0] == "Short" else one[0] for one in split],
        "Genre2": [one[1] for one in split],
        "Genre3": [one[2] for one in split],
    }
    path = tmp_path / "MasterData.csv"
    csv.write_csv(pa.table(master | {name: movies[name] for name in ("IMDBScore", "ImdbLink", "Poster")}), path)
    found = read_metadata(path).movies
    assert found.drop_columns("Genre").equals(movies.drop_columns("Genre"))
    alone = pc.fill_null(pc.equal(movies["Genre"], "Short"), False)  # no genre of these is in the file
    assert found["Genre"].filter(alone).null_count == 117
    assert found["Genre"].filter(pc.invert(alone)).equals(movies["Genre"].filter(pc.invert(alone)))


def test_several_genres_in_one_column_of_three_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("ImgId,Genre1,Genre2\n1,Drama,A\n2,A|B,C\n")
    with pytest.raises(MetadataError, match=r"row 2 has 'A\|B' as Genre1; expected one genre: split it, or read"):
        read_metadata(path)
    found = read_metadata(path, columns={"Genre": "Genre1"})
    assert found.movies["Genre"].to_pylist() == ["Drama", "A|B"]


def test_a_header_alone_is_an_empty_table(tmp_path: Path) -> None:
    for header in ("imdbId,Genre", "ImgId,Genre1"):
        (tmp_path / "m.csv").write_text(header)
        found = read_metadata(tmp_path / "m.csv")
        assert (len(found.movies), found.movies.schema) == (0, MOVIES_SCHEMA)


def test_short_as_the_first_genre_is_told(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("ImgId,Genre1,Genre2\n1,Short,Drama\n2,Short,\n3,Drama,Drama\n")
    found = read_metadata(path)
    assert found.movies["Genre"].to_pylist() == ["Short|Drama", "Short", "Short|Drama"]
    assert found.notes[-1] == "2 rows have Short as Genre1: the view `collection` takes Genre2 in its place"


def test_what_json_writes_is_read(tmp_path: Path) -> None:
    path = write_metadata(tmp_path / "m.csv", [movie(1, json.dumps(["Comédie", 'A "B"']))])
    assert read_metadata(path).movies["Genre"].to_pylist() == ['Comédie|A "B"']
