"""The command line: what scripts read, what people are told, and exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import Collection, CountingBackbone

from featurestore import FeatureStore
from featurestore.commands.backbone_options import TensorName
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """Run `featurestore …` in this process: exit code, stdout, stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["featurestore", *map(str, arguments)])
        code = run_command(cli, "featurestore")
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_the_main_job(run, collection: Collection, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    store = tmp_path / "s"
    code, out, _ = run("ingest", "--store", store, "--metadata", collection.metadata, "--images", collection.images)
    assert code == 0
    assert "labelled                      20" in out
    code, out, _ = run("embed", "--store", store, "--backbone", "descriptors")
    assert code == 0
    assert "24 computed" in out
    code, out, _ = run("info", "--store", store, "--json")
    info = json.loads(out)
    assert info["backbones"][0]["rows"] == 24
    assert info["labeled"] == 20
    code, out, _ = run("info", "--store", store)
    assert "24 of 24 images (100.0 %)" in out


def test_the_store_comes_from_the_environment(run, store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("FEATURESTORE_STORE", str(store.path))
    code, out, _ = run("sql", "SELECT count(*) AS n FROM movies", "--format", "json")
    assert (code, json.loads(out)) == (0, [{"n": 24}])


def test_sql_formats(run, store: FeatureStore, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    query = "SELECT ImgId, Genre1 FROM labeled ORDER BY ImgId LIMIT 2"
    assert run("sql", "--store", store.path, query, "--format", "csv")[1].splitlines() == [
        '"ImgId","Genre1"',
        '101,"Drama"',
        '102,"Comedy"',
    ]
    assert "Comedy" in run("sql", "--store", store.path, query)[1]
    for form, reader in (("parquet", pq.read_table), ("arrow", lambda path: pa.ipc.open_stream(path).read_all())):
        file = tmp_path / f"result.{form}"
        code, _, err = run("sql", "--store", store.path, query, "--format", form, "-o", file)
        assert code == 0, err
        assert reader(file)["ImgId"].to_pylist() == [101, 102]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["info", "--store", "nowhere"], 1, "featurestore: there is no store in 'nowhere'"),
        (["sql", "--store", "{store}", "SELEC 1"], 1, "the query failed"),
        (["sql", "--store", "{store}", "SELECT * FROM read_csv('/etc/passwd')"], 1, "the table function 'read_csv'"),
        (["sql", "--store", "{store}", "SET enable_external_access = true"], 1, "the query failed"),
        (["sql", "--store", "{store}", "COPY movies TO '/tmp/never.csv'"], 1, "the query failed"),
        (["embed", "--store", "{store}", "--backbone", "incepton_v3"], 1, "inception_v3"),
        (["embed", "--store", "nowhere", "--backbone", "descriptors"], 1, "there is no store"),
        (["embed", "--store", "{store}", "--backbone", "tflite:none.tflite"], 1, "none.tflite"),
        (["ingest", "--store", "{store}", "--metadata", "none", "--images", "none"], 1, "there is no metadata file"),
        (["import-embeddings", "--store", "{store}", "none.csv", "--backbone", "x"], 1, "there is no file"),
        (["frobnicate"], 2, "No such command"),
        (["embed", "--batch-size", "many", "--backbone", "x"], 2, "not a valid integer"),
    ],
)
def test_bad_input_is_one_sentence(run, store: FeatureStore, arguments: list[str], code: int, sentence: str) -> None:  # type: ignore[no-untyped-def]
    got, out, err = run(*(argument.format(store=store.path) for argument in arguments))
    assert got == code
    assert sentence in err
    assert "Traceback" not in out + err


def test_an_interrupt_exits_with_130(run, store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    backbone = CountingBackbone()

    def interrupt(batch: int) -> None:
        if batch:
            raise KeyboardInterrupt

    backbone.before_batch = interrupt
    monkeypatch.setattr("featurestore.backbones.registry.load", lambda *_, **__: backbone)
    code, _, err = run("embed", "--store", store.path, "--backbone", "descriptors", "--batch-size", 8)
    assert code == 130, err
    assert "run the command again to continue" in err
    assert store.refresh().backbones()[0].rows == 8


def test_every_command_has_help() -> None:
    for name, command in cli.commands.items():
        assert command.help, name
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or parameter.help, f"{name} {parameter.name}"


def test_what_a_script_would_read_is_json(  # type: ignore[no-untyped-def]
    run, collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One JSON object or list on stdout, and nothing else there."""
    monkeypatch.setattr(
        "featurestore.collections.movies.sample.GENRES", {"Drama": 20, "Comedy": 10, "Crime": 5, "Horror": 5}
    )  # a small one
    (tmp_path / "mine.sql").write_text("SELECT ImgId FROM labeled")
    store = ("--store", tmp_path / "s")
    vectors = ("--backbone", "descriptors")
    for command in (
        ("ingest", *store, "--metadata", collection.metadata, "--images", collection.images),
        ("embed", *store, *vectors),
        ("export", *store, *vectors, "-o", tmp_path / "x.csv.gz", "--format", "csv.gz"),
        ("import-embeddings", *store, tmp_path / "x.csv.gz", "--backbone", "again"),
        ("info", *store),
        ("lineage", *store, 101),
        ("view", "create", *store, "mine", "--sql", tmp_path / "mine.sql"),
        ("view", "list", *store),
        ("snapshot", "create", *store, "first"),
        ("snapshot", "list", *store),
        ("snapshot", "diff", *store, "first"),
        ("similar", *store, *vectors, "--id", 101),
        ("quality", *store),
        ("compact", *store),
        ("gc", *store, "--dry-run"),
        ("verify", *store),
        ("repair", *store),
        ("backbones",),
        ("backbone", "list", *store),
        ("sample", tmp_path / "sample"),
    ):
        code, out, err = run(*command, "--json")
        assert code == 0, err
        assert isinstance(json.loads(out), (dict, list)), command


def test_the_commands_without_json_are_those_that_print_nothing_to_read() -> None:
    def names(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
        for name, command in group.commands.items():
            if isinstance(command, click.Group):
                yield from names(command, f"{prefix}{name} ")
            else:
                yield prefix + name, command

    without = {name for name, command in names(cli) if "as_json" not in {p.name for p in command.params}}
    # `sql` has --format json; `explore` prints an address and goes on.
    assert without == {"sql", "explore", "backbone rename", "snapshot remove", "view remove"}


def test_the_backbones_of_a_store_are_listed(run, store: FeatureStore) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("backbone", "list", "--store", store.path)
    assert (code, out) == (0, "no backbone yet: featurestore embed --backbone descriptors\n")
    store.embed(CountingBackbone())
    store.create_snapshot("one")
    store.embed(CountingBackbone(name="other"))
    lines = run("backbone", "list", "--store", store.path)[1].splitlines()
    assert [line.split()[:2] for line in lines] == [["counting", "16"], ["other", "16"]]
    assert "24 of 24 images" in lines[0]
    kept = run("backbone", "list", "--store", store.path, "--snapshot", "one", "--json")[1]
    assert [info["name"] for info in json.loads(kept)] == ["counting"]


def test_a_tensor_is_a_number_or_a_name() -> None:
    read = TensorName().convert
    assert [read(text, None, None) for text in ("7", "features", "²", "7a")] == [7, "features", "²", "7a"]


def test_empty_lists_say_so(run, store: FeatureStore) -> None:  # type: ignore[no-untyped-def]
    for group in ("snapshot", "view"):
        code, out, _ = run(group, "list", "--store", store.path)
        assert code == 0
        assert f"yet: featurestore {group} create NAME" in out


def test_files_that_cannot_be_written_are_one_sentence(run, store: FeatureStore, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    store.embed(CountingBackbone())
    sheet = ("similar", "--store", store.path, "--backbone", "counting", "--id", 101, "--html")
    for command in (("sql", "--store", store.path, "SELECT 1", "--output"), sheet):
        for target, sentence in ((tmp_path / "no" / "file", "can't be written"), (tmp_path, "is a folder")):
            code, _, err = run(*command, target)
            assert (code, err.count("\n")) == (1, 1)
            assert sentence in err
    assert not list(tmp_path.parent.glob(".*.tmp"))
