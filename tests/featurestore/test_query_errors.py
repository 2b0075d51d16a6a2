"""What a failed query says: DuckDB's hints and the place, in one short line; and results that no format can hold."""

import json
from collections.abc import Iterator

import pytest
from support import Collection, CountingBackbone

from featurestore import FeatureStore
from featurestore.catalog import views
from featurestore.catalog.duckdb_errors import words
from featurestore.commands.formats import FORMS
from featurestore.errors import FeatureStoreError, InputError, QueryError


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FeatureStore]:
    """A store that no query changes."""
    folder = tmp_path_factory.mktemp("asked")
    collection = Collection(folder, 6)
    with FeatureStore(folder / "store") as store:
        store.ingest(metadata=collection.metadata, images=collection.images)
        store.embed(CountingBackbone())
        store.refresh()
        yield store


HINTS = [
    ("SELECT Titel FROM labeled", 'Candidate bindings: "Title"', "(at character 8: Titel FROM labeled)"),
    ("SELECT Title\nFROM labeled\nWHERE Gener1 = 'x'", '"Genre1"', "(at character 33: Gener1 = 'x')"),
    ("SELECT 'é漢' || Titel FROM labeled", '"Title"', "(at character 16: Titel FROM labeled)"),
    ("SELECT upper(Titel) FROM collection WHERE ImgId = 1", '"Title"', "(at character 14: Titel)"),
    ("SELECT avg(embedding) FROM labeled_counting", "Candidate functions: avg(", "(at character 8: avg("),
    ("SELECT cosine(embedding, 1) FROM labeled_counting", "list_cosine_similarity", "Candidate functions"),
    ("SELECT struct_pack(abc := 1).abd", 'Candidate Entries: "abc"', "abd"),
    ("SELECT 1 +", "syntax error", "(at character 10: +)"),
    ("SELEC 1", "syntax error", "(at character 1: SELEC 1)"),
    ("SELECT 'a'::INT", "Could not convert string 'a'", "INT32"),
    ("SELECT * FROM labelled", "only the store's own views", "did you mean 'labeled'"),
    ("SELECT * FROM embedings_counting", "only the store's own views", "did you mean 'embeddings_counting'"),
    ("DESCRIBE Movie", "only the store's own views", "did you mean 'movies'"),
    ("SELECT * FROM zzz", "only the store's own views", "it has: backbones, collection"),
    ("SELECT lenght(Title) FROM labeled", "the function 'lenght'", "did you mean 'length'"),
    ("SELECT cosin(embedding, embedding) FROM labeled_counting", "the function 'cosin'", "'cosine'"),
    ("FROM similar_countin(101, 2)", "the table function 'similar_countin'", "did you mean 'similar_counting'"),
]


@pytest.mark.parametrize(("query", "hint", "place"), HINTS)
def test_hints_reach_the_user(asked: FeatureStore, query: str, hint: str, place: str) -> None:
    with pytest.raises(QueryError) as caught:
        asked.sql(query)
    text = str(caught.value)
    assert hint in text
    assert place in text
    assert text.isprintable()
    assert "{" not in text, "no record of DuckDB's is shown as it is"


def test_hints_are_those_of_parameters_views_and_conditions_too(asked: FeatureStore) -> None:
    for action in (
        lambda: asked.sql("SELECT ?, Titel FROM labeled", [1]),
        lambda: views.create(asked.path, "v", "SELECT ImgId, Titel FROM labeled"),
        lambda: asked.similar(101, backbone="counting", where="Titel = 'x'"),
        lambda: asked.query("SELECT Titel FROM labeled"),
    ):
        with pytest.raises(QueryError, match='Candidate bindings: "Title"'):
            action()


@pytest.mark.parametrize("isolated", [False, True])
@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("Titel = 'x'", "(at character 1: Titel = 'x')"),
        ("Title = 'é' AND Titel = 'x'", "(at character 17: Titel = 'x')"),
        ("Genre1 = = 'x'", "(at character 10: = 'x')"),
        ("ImgId > ", "(at the end)"),
        ("lower(Title", "(at the end)"),
    ],
)
def test_the_place_in_a_condition_counts_from_its_first_character(
    asked: FeatureStore, where: str, place: str, isolated: bool
) -> None:
    """Not from that of the query which the condition was put into."""
    with FeatureStore(asked.path, isolated=isolated) as store, pytest.raises(QueryError) as caught:
        store.features("counting", where=where)
    assert str(caught.value).endswith(place)


@pytest.mark.parametrize("where", ["", " \n", "-- Genre1 = 'x'", "/* */"])
def test_a_condition_without_words_is_refused(asked: FeatureStore, where: str) -> None:
    with pytest.raises(QueryError, match="it is empty"):
        asked.features("counting", where=where)


@pytest.mark.parametrize(
    "where",
    ["true) GROUP BY (ImgId", "true) UNION SELECT (1", "true) LIMIT (1", "true) QUALIFY (true", "true); SELECT (1"],
)
def test_a_condition_that_goes_on_with_other_parts_of_a_query_is_refused(asked: FeatureStore, where: str) -> None:
    with pytest.raises(QueryError, match=r"it is not one condition|got 2 statements"):
        asked.features("counting", where=where)


@pytest.mark.parametrize(
    ("view", "columns", "hint"),
    [
        ("labelled", None, "did you mean 'labeled'"),
        ("Collection", None, "did you mean 'collection'"),
        ("labeled", ["Titel"], "did you mean 'Title'"),
        ("labeled", ["zzz"], "it has: Genre1"),
    ],
)
def test_a_view_or_column_that_is_not_there_is_answered_with_its_like(
    asked: FeatureStore, view: str, columns: list[str] | None, hint: str
) -> None:
    with pytest.raises(InputError, match=hint):
        asked.features("counting", view=view, columns=columns)


def test_other_names_are_answered_with_their_like(asked: FeatureStore) -> None:
    asked.create_snapshot("first")
    asked.create_view("mine", "SELECT ImgId FROM labeled")
    for action, like in (
        (lambda: asked.remove_view("mien"), "'mine'"),
        (lambda: asked.remove_snapshot("frist"), "'first'"),
        (lambda: asked.diff_snapshots("firts"), "'first'"),
        (lambda: FeatureStore.open(asked.path, snapshot="fist"), "'first'"),
        (lambda: asked.features("countin"), "'counting'"),
        (lambda: asked.similar(101, backbone="conting"), "'counting'"),
        (lambda: asked.similar("x.jpg", backbone="conting"), "'counting'"),
        (lambda: asked.remove_backbone("countin"), "'counting'"),
        (lambda: asked.parts("movie"), "'movies'"),
        (lambda: asked.quality(backbone="countin"), "'counting'"),
        (lambda: asked.explore(backbone="countin"), "'counting'"),
        (lambda: asked.correct_labels([101], "Drama", column="Gener1"), "'Genre1'"),
        (lambda: asked.export("counting", "x.npz", label="Gener1"), "'Genre1'"),
        (lambda: asked.embed("descriptor"), "'descriptors'"),
    ):
        with pytest.raises(FeatureStoreError, match=f"did you mean .*{like}"):
            action()
    asked.remove_view("mine")
    asked.remove_snapshot("first")


@pytest.mark.parametrize(
    "query",
    [
        "SELECT error(repeat('x', 10_000_000))",
        "SELECT CASE WHEN range > 100_000 THEN error(repeat('x' || chr(27), 1_000_000)) END FROM range(200_000)",
        f"SELECT {'x' * 100_000} FROM labeled",
        f"SELECT {'f' * 100_000}(1)",
        f'FROM "{"v" * 100_000}"',
        f'FROM "{chr(27) * 5000}"',
        "SELECT " + "[" * 5000,
        "SELECT repeat('x', 100_000)::INT",
        "SELECT error('" + chr(0x6F22) * 3000 + "')",
    ],
)
def test_a_message_is_short(asked: FeatureStore, query: str) -> None:
    with pytest.raises(FeatureStoreError) as caught:
        asked.sql(query)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text.encode()) < 2000


def test_the_end_of_a_long_message_is_kept() -> None:
    text = str(InputError("a" * 10**7 + ": name another folder"))
    assert text.startswith("aaa")
    assert text.endswith(": name another folder")
    assert len(text) < 2000


def test_words_of_an_error_that_is_no_record() -> None:
    assert words(ValueError("a\n\n  b")) == "a b"
    assert words(ValueError()) == "ValueError"
    assert words(ValueError('Binder Error: {"exception_type": 1}')).startswith("Binder Error: {")
    record = 'Binder Error: {"exception_message": "m", "position": "%s", "name": "b"}'
    assert words(ValueError(record % 2), "a b c") == "Binder Error: m (at character 3: b c)"
    assert words(ValueError(record % 200), "a b c") == "Binder Error: m", "a place outside of the query"


def nested(kind: str, depth: int) -> str:
    """A value within so many others."""
    before, after = {"list": ("[", "]"), "struct": ("{'a': ", "}"), "map": ("map {'a': ", "}")}[kind]
    return f"SELECT {before * depth}1{after * depth} AS v"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ["list", "struct", "map"])
@pytest.mark.parametrize("depth", [30, 62, 70, 200])
def test_nested_results_are_bytes_or_one_sentence(asked: FeatureStore, kind: str, depth: int, form: str) -> None:
    try:
        assert len(b"".join(FORMS[form](asked.sql(nested(kind, depth))))) > 0
    except QueryError as error:
        assert "VARCHAR" in str(error) or "CSV can't hold" in str(error) or "deep" in str(error)  # noqa: PT017


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("SELECT 'NaN'::DOUBLE AS x, 'inf'::FLOAT AS y, 1.5::DOUBLE AS z", {"x": None, "y": None, "z": 1.5}),
        ("SELECT ['-inf'::DOUBLE, 2] AS x", {"x": [None, 2.0]}),
        ("SELECT {'a': ['nan'::DOUBLE]} AS x", {"x": {"a": [None]}}),
        ("SELECT map {'k': 'nan'::DOUBLE} AS x", {"x": [["k", None]]}),
        ("SELECT ['inf'::FLOAT, 1]::FLOAT[2] AS x, 'NaN' AS text", {"x": [None, 1.0], "text": "NaN"}),
    ],
)
def test_json_is_json(asked: FeatureStore, query: str, expected: object) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads(b"".join(FORMS["json"](asked.sql(query))), parse_constant=refuse) == [expected]
