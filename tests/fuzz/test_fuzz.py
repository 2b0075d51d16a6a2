"""The short form of `make fuzz`: each target on its seeds, on what once broke it, and on a few drawn inputs."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import grammar, record_edits, seeds, targets, view_grammar

EXAMPLES = 60
short = settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True)


@pytest.fixture(autouse=True)
def here() -> Iterator[None]:
    """Targets change the folder and the environment: so that what a name without a folder reaches is tried, too."""
    before, environment = Path.cwd(), dict(os.environ)
    yield
    os.chdir(before)
    os.environ.clear()
    os.environ |= environment


@pytest.mark.parametrize("name", targets.BYTES)
def test_seeds_and_what_once_broke_it(name: str) -> None:
    found = list(seeds.of(name))
    assert len(found) >= 5
    for content in found:
        targets.BYTES[name](content)


def test_every_kept_input_belongs_to_a_target() -> None:
    names = {path.name.split("-")[0] for path in seeds.KEPT.iterdir()}
    assert names <= {*targets.BYTES, *targets.STRUCTURED}


@short
@given(st.sampled_from([b"h", b"z", b"r"]), st.binary(max_size=200) | st.text(max_size=99).map(str.encode))
def test_any_bytes_are_metadata_or_refused(kind: bytes, rest: bytes) -> None:
    targets.metadata(kind + rest)


@short
@given(st.sampled_from(list(targets.FILES)), st.binary(max_size=200) | st.text(max_size=99).map(str.encode))
def test_any_bytes_are_vectors_or_refused(kind: bytes, rest: bytes) -> None:
    targets.vectors(kind + rest)


@short
@given(grammar.tables())
def test_any_table_is_vectors_or_refused(table: object) -> None:
    targets.tables.hypothesis.inner_test(table)  # type: ignore[attr-defined]


@short
@given(grammar.queries())
def test_any_query_reaches_nothing(text: str) -> None:
    targets.queries.hypothesis.inner_test(text)  # type: ignore[attr-defined]


@settings(short, max_examples=4)
@given(view_grammar.views())
def test_any_view_shows_nothing_but_rows(texts: dict[str, str]) -> None:
    targets.view_sandbox().run(texts)


def test_the_oracle_of_views_notices_a_leak() -> None:
    sandbox = targets.view_sandbox()
    sandbox.run({"v0": "SELECT ImgId, part AS leak FROM embeddings", "v1": "SELECT ImgId, leak FROM v0"})
    planted = f"SELECT 101 AS ImgId, '{sandbox.CANARY}' AS leak"
    with pytest.raises(AssertionError, match="sql showed canary"):
        sandbox.run({"v0": planted})
    with pytest.raises(AssertionError, match="sql showed canary"):
        sandbox.run({"v0": f"SELECT error('{sandbox.CANARY}') AS ImgId"})


@settings(short, max_examples=4)
@given(record_edits.edits())
def test_edited_records_give_right_answers_or_one_sentence(found: list[record_edits.Edit]) -> None:
    for what in record_edits.SEALS:
        targets.edited().run(what, found, ["movies", "features", "snapshot"], "gc")


def test_the_oracle_of_records_notices_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    edited = targets.edited()
    edited.run("store", [], ["notes"], "gc")
    monkeypatch.setitem(edited._answers, "notes", "[]")
    with pytest.raises(AssertionError, match="notes is "):
        edited.run("store", [], ["notes"], None)


@pytest.mark.slow
@pytest.mark.parametrize("value", ["'SECRET'", "'PART'", "'FUZZ_CANARY'"])
def test_no_function_of_duckdb_reaches_a_canary(value: str) -> None:
    """Every function that DuckDB has, as a value and as a table, is given the place of what it must not reach."""
    sandbox = targets.sandbox()
    for name in grammar.functions():
        for text in (f"SELECT {name}({value})", f"SELECT * FROM {name}({value})"):
            sandbox.run(text)
    sandbox.unharmed()


def test_the_oracle_notices_what_it_is_there_for() -> None:
    """A check that can't fail is none: a canary in the store's own rows, a file and a visit are each noticed."""
    import socket

    sandbox = targets.sandbox()
    with pytest.raises(AssertionError, match="the canary was read"):
        sandbox.run(f"SELECT '{sandbox.CANARY}' AS a")
    stray = sandbox.secret.with_name("stray")
    stray.touch()
    with pytest.raises(AssertionError, match="files changed"):
        sandbox.run("SELECT 1")
    stray.unlink()
    with socket.create_connection(("127.0.0.1", sandbox.port.number)):
        sandbox.port.visited(1)
    with pytest.raises(AssertionError, match="the network was reached"):
        sandbox.run("SELECT 1")
    sandbox.port.visits = 0
