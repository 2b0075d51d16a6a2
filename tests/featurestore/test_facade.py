"""One front door: every verb with every argument, the same on the command line; refused where nothing can change."""

import inspect
import pydoc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pytest
from support import Collection, CountingBackbone

import featurestore
from featurestore import FeatureStore
from featurestore.catalog.reader import Reader
from featurestore.commands.cli import cli
from featurestore.commands.formats import FORMS
from featurestore.errors import BackboneError, InputError, StoreError, StoreNotFound
from featurestore.explore.search import METRICS
from featurestore.features.export import SUFFIXES

VERBS = {
    name: verb
    for name, verb in inspect.getmembers(FeatureStore, inspect.isfunction)
    if not name.startswith("_") and name not in dir(Reader)
}
WRITING = {name for name, verb in VERBS.items() if "wait_seconds" in inspect.signature(verb).parameters}
# Commands that need no store, and so are no verb of one.
WITHOUT_STORE = {"backbones", "backbone convert", "sample", "fetch"}
# What belongs to the screen or to the opening of a store.
OF_COMMANDS = {"store", "snapshot", "as_json", "verbose", "quiet"}
OF_VERBS = {"self", "on_progress"}
# Where the two differ for a reason.
ONLY_COMMAND = {
    "embed": {"backbone_file"},  # a reference in another form
    "sql": {"form", "output", "every", "exact"},  # how the result is shown
    "similar": {"ids", "image", "vectors", "html", "backbone_file"},  # kinds of query; a contact sheet
    "quality": {"strict"},  # the exit code
    "explore": {"no_browser"},  # the verb opens none
    "forget": {"file", "yes"},  # ids in a file; a question
}
# Or --backbone-file; without a query the views are listed; or ids in a file.
EITHER = {("embed", "backbone"), ("sql", "query"), ("forget", "ids")}
# Commands whose verbs are named for what they do to labels.
OF_LABELS = {
    "label correct": "correct_labels",
    "label undo": "uncorrect_labels",
    "label list": "corrections",
    "label export": "export_corrections",
}
ONLY_VERB = {"sql": {"parameters", "isolated"}, "similar": {"query"}}


def commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        elif prefix + name not in WITHOUT_STORE:
            yield prefix + name, command


COMMANDS = dict(commands(cli))


def verb_of(command: str) -> str:
    """The verb of a command: ``snapshot create`` → ``create_snapshot``, ``view list`` → ``views``."""
    if command in OF_LABELS:
        return OF_LABELS[command]
    group, _, name = command.rpartition(" ")
    if not group:
        return name.replace("-", "_")
    return {"list": f"{group}s", "diff": f"diff_{group}s"}.get(name, f"{name}_{group}")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_the_name_and_the_arguments_of_a_verb(command: str) -> None:
    verb = inspect.signature(getattr(FeatureStore, verb_of(command))).parameters
    options = {option.name: option for option in COMMANDS[command].params}
    named = options.keys() - OF_COMMANDS - ONLY_COMMAND.get(command, set())
    assert named == verb.keys() - OF_VERBS - ONLY_VERB.get(command, set())
    for name in named:
        option, default = options[name], verb[name].default
        # Some versions of click mark an option without a default by an object of their own.
        given = option.default if isinstance(option.default, (bool, int, float, str)) else None
        needed = default is inspect.Parameter.empty
        assert option.required == (needed and (command, name) not in EITHER), name
        assert needed or (given or None) == (default or None), name


def test_the_choices_of_an_option_are_those_of_the_verb() -> None:
    def choices(command: str, name: str) -> set[str]:
        (option,) = (option for option in COMMANDS[command].params if option.name == name)
        assert isinstance(option.type, click.Choice)
        return set(option.type.choices)

    assert choices("export", "format") == set(SUFFIXES)
    assert choices("similar", "metric") == set(METRICS)
    assert choices("sql", "form") == set(FORMS)


def test_every_verb_is_a_command_but_those_that_hand_over_objects() -> None:
    objects = {"append", "contact_sheet", "create", "feature_batches", "features"}
    assert VERBS.keys() - set(map(verb_of, COMMANDS)) == objects


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_typed_told_and_takes_keywords(name: str) -> None:
    signature = inspect.signature(VERBS[name])
    parameters = list(signature.parameters.values())[1:]
    assert VERBS[name].__doc__
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters)
    assert all(parameter.kind is not inspect.Parameter.VAR_KEYWORD for parameter in parameters)
    assert sum(parameter.kind is not inspect.Parameter.KEYWORD_ONLY for parameter in parameters) <= 2


def test_help_tells_the_arguments(kept_store: FeatureStore) -> None:
    text = pydoc.render_doc(kept_store.similar, renderer=pydoc.plaintext)
    assert all(f"{name}:" in text for name in ("where", "metric", "model", "weights", "tensor", "include_self"))
    assert "``cosine``, ``inner_product`` or ``euclidean``" in text


def test_the_package_shows_its_public_names_alone() -> None:
    import featurestore.catalog.guard  # a submodule becomes an attribute of the package

    assert dir(featurestore) == sorted(featurestore.__all__)
    assert all(inspect.getdoc(getattr(featurestore, name)) for name in dir(featurestore))
    assert "class FeatureStore" in pydoc.render_doc(featurestore, renderer=pydoc.plaintext)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = featurestore.nothing


def calls(collection: Collection) -> dict[str, Callable[[FeatureStore], Any]]:
    """A call of each verb that writes, which would succeed or at least begin to write."""
    return {
        "append": lambda store: store.append({"notes": pa.table({"n": [1]})}),
        "compact": lambda store: store.compact(),
        "correct_labels": lambda store: store.correct_labels(101, "Crime"),
        "create": lambda store: store.create(),
        "create_snapshot": lambda store: store.create_snapshot("another"),
        "create_view": lambda store: store.create_view("mine", "SELECT ImgId FROM collection"),
        "embed": lambda store: store.embed(CountingBackbone(name="other")),
        "forget": lambda store: store.forget(101),
        "gc": lambda store: store.gc(),
        "import_embeddings": lambda store: store.import_embeddings("x.csv", backbone="theirs"),
        "ingest": lambda store: store.ingest(metadata=collection.metadata, images=collection.images),
        "project": lambda store: store.project("other", perplexity=1),
        "publish": lambda store: store.publish("folder"),
        "remove_backbone": lambda store: store.remove_backbone("other"),
        "remove_snapshot": lambda store: store.remove_snapshot("kept"),
        "remove_view": lambda store: store.remove_view("mine"),
        "rename_backbone": lambda store: store.rename_backbone("other", "another"),
        "repair": lambda store: store.repair(),
        "uncorrect_labels": lambda store: store.uncorrect_labels(101),
    }


def test_what_never_changes_refuses_every_verb_that_writes(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone(name="other"))
    store.create_snapshot("kept")
    kept = featurestore.open(store.path, snapshot="kept")
    read = FeatureStore(f"file://{store.path}")
    assert calls(collection).keys() == WRITING
    files = {path: path.stat().st_mtime_ns for path in store.path.rglob("*")}
    for call in calls(collection).values():
        with pytest.raises(StoreError, match="'kept' never changes"):
            call(kept)
        with pytest.raises(StoreError, match=r"'file://.*' is only read by this address: name the folder itself"):
            call(read)
    assert {path: path.stat().st_mtime_ns for path in store.path.rglob("*")} == files


def test_states_and_views_by_their_verbs(store: FeatureStore) -> None:
    reader = featurestore.open(store.path)
    assert store.create_view("mine", "SELECT ImgId FROM collection;") == 24
    assert store.views() == {"mine": "SELECT ImgId FROM collection"}
    assert (reader.views(), reader.refresh().views()) == ({}, store.views())
    info = store.create_snapshot("first")
    assert store.snapshots() == [info]
    store.embed(CountingBackbone())
    store.create_snapshot("second")
    changes = store.diff_snapshots("first", "second")
    assert (changes["embeddings_counting"].added, changes["images"].added) == (24, 0)
    assert featurestore.open(store.path, snapshot="first").diff_snapshots("second")["embeddings_counting"].removed == 24
    store.remove_view("mine")
    store.remove_snapshot("first")
    assert (store.views(), [kept.name for kept in store.snapshots()]) == ({}, ["second"])


def test_an_empty_store_takes_tables(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path / "empty")
    store.create()
    store.append({"notes": pa.table({"n": [1]})})
    state = store.state
    store.create()
    assert (store.state, store.sql("SELECT n FROM notes")["n"].to_pylist()) == (state, [1])
    assert (store.backbones(), len(store.sql("SELECT * FROM images"))) == ([], 0)


def test_upkeep_by_its_verbs(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    store.append({"notes": pa.table({"n": [1]})})
    store.append({"notes": pa.table({"n": [2]})})
    assert store.compact()["notes"] == (2, 1)
    assert store.gc().removed == [], "what was written a moment ago may be needed by a writer"
    would = store.gc(older_than="0", dry_run=True)
    assert would.removed
    assert store.gc(older_than="0").removed == would.removed
    for age in ("", "1", "1w", "-1d", "d", "1.5h", 3):
        with pytest.raises(InputError, match="as the minimum age of files to remove, expected a time such as 12h"):
            store.gc(older_than=age)  # type: ignore[arg-type]
    assert store.verify().damaged == {}
    assert (store.repair().left, store.info()["tables"]["notes"]) == ({}, 2)


def test_a_reader_sees_what_was_computed_before_an_error(store: FeatureStore) -> None:
    backbone = CountingBackbone()

    def fail(batch: int) -> None:
        if batch == 2:
            raise ValueError("no more")

    backbone.before_batch = fail
    with pytest.raises(BackboneError, match="no more"):
        store.embed(backbone, batch_size=8)
    assert store.backbones()[0].rows == 16


def test_a_named_backbone_is_loaded_as_told(store: FeatureStore, tmp_path: Path) -> None:
    assert store.embed("descriptors", name="mine", workers=1).backbone == "mine"
    assert [info.name for info in store.backbones()] == ["mine"]
    with pytest.raises(BackboneError, match="takes no --tensor"):
        store.embed("descriptors", tensor=3)
    with pytest.raises(BackboneError, match="got a loaded backbone with options"):
        store.embed(CountingBackbone(), name="mine")
    with pytest.raises(StoreNotFound):  # told before the weights, which are absent, are loaded
        FeatureStore(tmp_path / "none").embed("tflite:none.tflite")


def test_similar_loads_what_it_is_told(kept_store: FeatureStore, collection: Collection) -> None:
    image = collection.images / "101.jpg"
    with pytest.raises(BackboneError, match=r"none\.tflite"):
        kept_store.similar(image, backbone="counting", model="tflite:none.tflite")
    with pytest.raises(InputError, match="not remembered on this machine and can't be loaded by its name"):
        kept_store.similar(image, backbone="counting")
    with pytest.raises(BackboneError, match="got a loaded backbone with"):
        kept_store.similar(image, backbone="counting", model=CountingBackbone(), tensor=1)
    for options in ({"model": "descriptors"}, {"weights": "folder"}, {"tensor": 0}):
        with pytest.raises(InputError, match="are for a query by image file or text: leave them out"):
            kept_store.similar(101, backbone="counting", **options)
    found = kept_store.similar(101, backbone="counting", k=1, include_self=True)
    assert found.ids.tolist() == [[101]]


def test_exports_by_their_verb(kept_store: FeatureStore, tmp_path: Path) -> None:
    ids = tmp_path / "ids.txt"
    ids.write_text("103\n101\n")
    report = kept_store.export("counting", tmp_path / "x.npy", label="Genre1", ids=ids)
    assert [path.name for path in report.files] == ["x.npy", "x.ids.npy", "x.y.npy", "x.classes.npy"]
    assert (report.rows, report.embed_dim, report.missing, report.lock) == (2, 16, 0, None)
    assert np.load(tmp_path / "x.ids.npy").tolist() == [103, 101]
    bundle = kept_store.export("counting", tmp_path / "x", format="bundle", ids=[103, 101])
    opened = featurestore.open_bundle(tmp_path / "x", lock=bundle.lock)
    assert opened.X.tobytes() == np.load(tmp_path / "x.npy").tobytes()
    with pytest.raises(InputError, match="got the format 'xlsx', expected parquet, npz"):
        kept_store.export("counting", tmp_path / "x", format="xlsx")
    with pytest.raises(InputError, match="leave out --view"):
        kept_store.export("counting", tmp_path / "x.csv.gz", format="study-labeled", view="labeled")
    with pytest.raises(InputError, match="holds one backbone, got 2"):
        kept_store.export(["a", "b"], tmp_path / "x.csv.gz", format="study-labeled")


def test_quality_takes_a_split_from_a_file(kept_store: FeatureStore, tmp_path: Path) -> None:
    split = tmp_path / "split.csv"
    split.write_text("ImgId,side\n101,train\n102,test\n")
    assert kept_store.quality(backbone="counting", split=split).leaking == []
    assert kept_store.quality(backbone=["counting"]).leaking is None
    split.write_text("ImgId,part\n101,train\n")
    with pytest.raises(InputError, match="expected a CSV with the columns ImgId and side"):
        kept_store.quality(split=split)
