"""`sql` from an argument, a file and standard input, its tables on the screen, and `schema`: what there is to query."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pseudo_terminal import pseudo_terminal
from pyarrow import csv
from support import Collection, CountingBackbone
from torture.launch import Done, in_process

import featurestore
from benchmarks.results import schemas as bench_schemas
from benchmarks.results.pending import SCHEMAS
from featurestore import FeatureStore
from featurestore.catalog import package_tables
from featurestore.commands.cli import cli
from featurestore.commands.formats import FORMS, ROWS, first_and_last, shown_table, table_pieces, table_text
from featurestore.commands.options import run_command
from featurestore.explore import schema

COUNT = "SELECT count(*) AS n FROM labeled"
CSV = '"n"\n20\n'


def sql(store: FeatureStore, *arguments: object) -> Done:
    return in_process(["featurestore", "sql", "--store", str(store.path), *map(str, arguments)])


def test_a_query_from_an_argument_a_file_and_standard_input(
    kept_store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sql(kept_store, COUNT, "--format", "csv").out == CSV
    file = tmp_path / "my query.sql"
    file.write_bytes(b"\xef\xbb\xbf-- how many?\n" + COUNT.encode() + b";\n")
    assert sql(kept_store, file, "--format", "csv").out == CSV
    monkeypatch.setattr("sys.stdin", io.StringIO(COUNT))
    assert sql(kept_store, "-", "--format", "csv").out == CSV


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.sql", None, "'none.sql' can't be read as SQL (No such file or directory): name a text file"),
        ("bytes.sql", b"SELECT '\xff'", "can't be read as SQL ('utf-8' codec can't decode"),
        ("empty.sql", b"", "got 0 statements, expected one SELECT"),
        ("two.sql", b"SELECT 1; SELECT 2", "got 2 statements, expected one SELECT"),
        ("writes.sql", b"COPY labeled TO 'x.csv'", "only SELECT can be run here"),
    ],
)
def test_a_file_that_holds_no_query_is_one_sentence(
    kept_store: FeatureStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: bytes | None,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_bytes(content)
    done = sql(kept_store, name)
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert sentence in done.err


def test_all_shows_more_rows_than_duckdb_does_at_once() -> None:
    shown = table_text(pa.table({"n": range(25_000)}), most=None)
    assert [int(line[1:-1]) for line in shown.splitlines() if line[1:-1].strip().isdigit()] == list(range(25_000))


def test_a_table_shows_the_first_and_last_rows_or_all(kept_store: FeatureStore) -> None:
    query = "SELECT i AS row, 2 * i AS twice FROM range(50) AS numbers(i)"
    some, every = sql(kept_store, query), sql(kept_store, query, "--all")
    assert "(20 shown)" in some.out
    assert some.err == "20 of 50 rows; --all shows every row\n"
    assert len(some.out.splitlines()) < 35 < 50 < len(every.out.splitlines())
    assert every.err == ""
    assert all(f" {row} " in every.out for row in range(50))
    assert sql(kept_store, query, "--quiet").err == ""
    assert sql(kept_store, "FROM labeled LIMIT 1").err == ""


def test_columns_fit_a_terminal_and_are_all_there_elsewhere(
    kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT " + ", ".join(f"repeat('x', 9) AS column_{n}" for n in range(30))
    piped = sql(kept_store, query).out
    assert all(f"column_{n} " in piped for n in range(30))
    monkeypatch.setenv("COLUMNS", "80")
    for options, fits in (([], True), (["--all"], False)):
        monkeypatch.setattr("sys.argv", ["featurestore", "sql", "--store", str(kept_store.path), query, *options])
        with pseudo_terminal() as screen:
            assert run_command(cli, "featurestore") == 0
        lines = screen.decode().splitlines()
        assert (max(map(len, lines)) <= 80) == fits
        assert ("column_14 " in screen.decode()) != fits


def test_a_table_holds_no_more_than_it_shows() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(0, 1_000_000, 5000):
            yield pa.RecordBatch.from_pydict({"n": range(number, number + 5000), "v": [[1.0] * 8] * 5000})

    schema = pa.schema({"n": pa.int64(), "v": pa.list_(pa.float64())})
    allocated = pa.total_allocated_bytes()
    found = first_and_last(pa.RecordBatchReader.from_batches(schema, batches()), ROWS)
    assert found.count == 1_000_000
    assert pa.total_allocated_bytes() - allocated < 1_000_000
    text = shown_table(found.table, most=ROWS, width=None).decode()
    cells = [line.split("│")[1].strip() for line in text.splitlines() if "│" in line]
    assert [int(cell) for cell in cells if cell.isdigit()] == [*range(10), *range(999_990, 1_000_000)]
    assert "(>9999 rows, 20 shown)" in text


@pytest.mark.parametrize("form", ["json", "csv", "parquet", "arrow"])
def test_a_result_is_written_piece_by_piece(form: str) -> None:
    """Never more than a few batches are in memory, and what was written is the whole."""
    taken = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal taken
        for number in range(40):
            taken += 1
            yield pa.RecordBatch.from_pydict({"n": [number] * 1000, "text": [f"{number}" * 1600] * 1000})

    schema = pa.schema({"n": pa.int64(), "text": pa.string()})
    pieces, ahead = [], []
    for piece in FORMS[form](pa.RecordBatchReader.from_batches(schema, batches())):
        pieces.append(piece)
        ahead.append(taken)
    assert ahead[0] < 30, "what is written first was there before the last was read"
    content = b"".join(pieces)
    read = {
        "json": lambda: pa.Table.from_pylist(json.loads(content), schema),
        "csv": lambda: csv.read_csv(io.BytesIO(content), convert_options=csv.ConvertOptions(column_types=schema)),
        "parquet": lambda: pq.read_table(io.BytesIO(content)),
        "arrow": lambda: pa.ipc.open_stream(content).read_all(),
    }
    assert read[form]().equals(pa.Table.from_batches(list(batches()), schema))


def test_empty_results_are_written_too() -> None:
    empty = pa.table({"a": pa.array([], pa.int64())})
    contents = {form: b"".join(write(empty)) for form, write in FORMS.items()}
    assert contents["json"] == b"[]\n"
    assert contents["csv"] == b'"a"\n'
    assert pq.read_table(io.BytesIO(contents["parquet"])).equals(empty)
    assert pa.ipc.open_stream(contents["arrow"]).read_all().equals(empty)
    assert b"0 rows" in b"".join(table_pieces(empty, most=None))


def test_a_vector_is_abbreviated_in_a_table_and_whole_elsewhere(kept_store: FeatureStore) -> None:
    query = "SELECT embedding, [1.5, 2.5] AS short, ['a', 'b'] AS texts FROM embeddings_counting LIMIT 1"
    printed, whole = sql(kept_store, query).out, json.loads(sql(kept_store, query, "--format", "json").out)
    assert "… 16 numbers]" in printed
    assert "[1.5, 2.5]" in printed
    assert "[a, b]" in printed
    assert len(whole[0]["embedding"]) == 16


def test_vectors_of_every_kind_are_shown() -> None:
    long = [0.123456, None, -1e9, *map(float, range(2000))]
    kinds = (pa.list_(pa.float64()), pa.list_(pa.float32(), len(long)), pa.large_list(pa.float32()))
    for kind in kinds:
        table = pa.Table.from_arrays([pa.array([long, None], kind)] * 2, names=["x", "x"])
        text = table_text(table)
        assert text.count("[0.123, NULL, -1e+09, … 2,003 numbers]") == 2
        assert text.count("NULL") >= 4
    shown = table_text(pa.table({"x": pa.array([["a", "b"]] * 2)}))
    assert shown.count("[a, b]") == 2
    empty = pa.table({"x": pa.array([], kinds[0])})
    assert "0 rows" in table_text(empty)
    assert b"".join(FORMS["table"](pa.table({"n": range(ROWS)}))).count(b"\n") == ROWS + 5


def test_without_a_query_the_views_are_listed(kept_store: FeatureStore) -> None:
    done = sql(kept_store)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == ["collection", *lines[0].split()[1:]]
    assert lines[-1] == f"next: featurestore schema --store {kept_store.path}"
    assert {"labeled_counting", "movies", "images", "similar_counting(img_id,"} <= {line.split()[0] for line in lines}
    quiet = sql(kept_store, "--quiet")
    assert quiet.out.splitlines() == lines[:-1]


def test_schema_lists_all_with_columns(kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {info.name: info for info in kept_store.schema()}
    assert {name for name, info in found.items() if info.kind != "function"} == set(kept_store.database.views)
    for name, info in found.items():
        assert info.about.endswith((".", "DESC.")), name
        if info.kind != "function":
            assert list(info.columns) == kept_store.columns(name)
    assert found["labeled_counting"].columns["embedding"] == "FLOAT[16]"
    assert {"mean_vector(embedding)", "cosine(a, b)", "similar_counting(img_id, k)", "labeled_top(n)"} <= found.keys()
    done = in_process(["featurestore", "schema", "--store", str(kept_store.path), "--json"])
    assert [info["name"] for info in json.loads(done.out)] == list(found)
    monkeypatch.setenv("COLUMNS", "80")
    text = in_process(["featurestore", "schema", "--store", str(kept_store.path)]).out
    assert all(f"  {name}: " in text for name in found)
    assert "      ImgId INTEGER, ImgName VARCHAR" in text
    assert max(map(len, text.splitlines())) <= 80


def test_schema_of_general_collections_own_tables_and_views(collection: Collection, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "s")
    store.ingest(images=collection.images)
    store.append({"notes": pa.table({"n": [1]})})
    store.create_view("mine", "SELECT ImgId,\n  ImgName FROM collection")
    found = {info.name: info for info in store.schema()}
    assert found["metadata"].about.startswith("The rows of your table")
    assert (found["notes"].kind, found["notes"].about, found["notes"].columns) == ("table", "", {"n": "BIGINT"})
    assert (found["mine"].kind, found["mine"].about) == ("own view", "SELECT ImgId, ImgName FROM collection")
    assert all(info.about for name, info in found.items() if name != "notes")


def test_a_package_describes_its_own_tables(kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class Point:
        name = value = "bench"

        def __init__(self, lines: object) -> None:
            self.lines = lines

        def load(self) -> object:
            if isinstance(self.lines, Exception):
                raise self.lines
            return self.lines

    store = kept_store
    for lines, about in (
        ({"movies_by_hand": "never there", "images": "not theirs"}, schema.TABLES["images"]),
        (ImportError("no such module"), schema.TABLES["images"]),
    ):
        monkeypatch.setattr(package_tables, "entry_points", lambda group, lines=lines: [Point(lines)])
        assert {info.name: info.about for info in store.schema()}["images"] == about
    assert {
        *SCHEMAS,
        "bench_runs",
        "bench_run_details",
        "bench_groups",
        "bench_corrected",
        "bench_across",
    } == bench_schemas.ABOUT.keys()


def test_no_private_names_are_shown_or_read(kept_store: FeatureStore) -> None:
    names = kept_store.sql("SHOW TABLES")["name"].to_pylist()
    assert names == kept_store.database.views
    assert not [name for name in names if name.startswith("_")]
    with pytest.raises(featurestore.errors.QueryError, match="the query reads '_parts_counting'"):
        kept_store.sql("FROM _parts_counting")


def test_what_tells_of_images_has_their_id(store: FeatureStore, collection: Collection) -> None:
    (collection.images / "999.jpg").write_bytes(b"no image")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    about_images = {info.name for info in store.schema() if "ImgId" in info.columns}
    others = {"backbones", "extractions", "genre_counts"}
    assert about_images == {*store.database.views} - others
    joined = store.sql("SELECT count(*) AS n, bool_and(imdbId = ImgId) AS same FROM movies JOIN images USING (ImgId)")
    assert joined.to_pylist() == [{"n": 24, "same": True}]
    [problem] = store.sql("FROM problems WHERE kind = 'refused image'").to_pylist()
    assert problem["ImgId"] == 999
