"""One run fills a revision with one engine; another one continues it only on request."""

from collections.abc import Callable
from pathlib import Path

import made_backbones
import pytest
from support import Collection, CountingBackbone, jpeg

from featurestore import FeatureStore, load_backbone
from featurestore.commands.texts import lineage_text
from featurestore.embedding.provenance import engine_text, extraction_of
from featurestore.errors import BackboneError, InputError

REFUSED = r"24 vectors of 'net', revision [0-9a-f]{16}, were computed by first in float32, and this run would continue "


@pytest.fixture(autouse=True)
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The backbone ``blocks:FILE`` as a reference."""
    made_backbones.install(monkeypatch)
    (tmp_path / "net.blocks").write_text("2.5")
    return f"blocks:{tmp_path / 'net.blocks'}"


@pytest.fixture
def grown(store: FeatureStore, net: str, collection: Collection) -> FeatureStore:
    """A store whose backbone `net` lacks one image."""
    store.embed(net)
    (collection.images / "101.jpg").write_bytes(jpeg(999))
    return store


def engines(store: FeatureStore) -> dict[str, int]:
    rows = store.query(
        "SELECT x.libraries, count(*) AS n FROM embeddings AS e JOIN extractions AS x USING (extraction, backbone) "
        "GROUP BY ALL"
    )
    return {row["libraries"]: row["n"] for row in rows.to_pylist()}


@pytest.mark.parametrize(
    ("variable", "value", "engine"),
    [("BLOCKS_ENGINE", "second", "second in float32"), ("BLOCKS_DEVICE", "cuda", "first in float32 on cuda")],
)
def test_another_engine_continues_on_request_only(
    grown: FeatureStore, net: str, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, engine: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError, match=rf"{REFUSED}with {engine}: use the same engine, or .*--other-engine"):
        grown.embed(net)
    assert grown.embed(net, other_engine=True).computed == 1
    assert grown.embed(net).computed == 0
    assert len(engines(grown)) == 2
    text = lineage_text(grown.lineage(101))
    assert f"  engine    {'second' if value == 'second' else 'first'} 1.0; float32" in text
    assert ("on cuda" in text) == (value == "cuda")


def test_nothing_to_compute_is_no_other_engine(
    store: FeatureStore, net: str, monkeypatch: pytest.MonkeyPatch, collection: Collection
) -> None:
    store.embed(net)
    monkeypatch.setenv("BLOCKS_ENGINE", "second")
    assert store.embed(net).present == 24
    # A copy of a known image gets its vector, which is that of the first engine.
    (collection.images / "101.jpg").write_bytes((collection.images / "102.jpg").read_bytes())
    report = store.embed(net)
    assert (report.reused, report.computed) == (1, 0)
    assert list(engines(store)) == ['{"first": "1.0"}']


def test_what_an_interrupted_run_staged_is_of_its_engine(
    store: FeatureStore, net: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone, batches = load_backbone(net), []
    compute = backbone.embed

    def fail(images: object) -> object:
        batches.append(images)
        if len(batches) == 2:
            raise ValueError("no more")
        return compute(images)

    monkeypatch.setattr(backbone, "embed", fail)
    monkeypatch.setattr("featurestore.embedding.embed.Publisher.publish", lambda *arguments, **options: None)
    with pytest.raises(BackboneError, match="no more"):
        store.embed(backbone, batch_size=8)
    monkeypatch.undo()
    monkeypatch.setattr("featurestore.backbones.records.RECORDS", {"blocks": made_backbones.RECORD})
    monkeypatch.setenv("BLOCKS_ENGINE", "second")
    with pytest.raises(InputError, match=r"8 vectors of 'net', .* were computed by first in float32"):
        store.embed(net, batch_size=8)
    monkeypatch.setenv("BLOCKS_ENGINE", "first")
    report = store.embed(net, batch_size=8)
    assert (report.present, report.computed) == (8, 16)


def test_a_function_without_a_record_of_libraries_goes_on(store: FeatureStore, collection: Collection) -> None:
    store.embed(CountingBackbone())
    (collection.images / "101.jpg").write_bytes(jpeg(999))
    assert store.embed(CountingBackbone()).computed == 1


def test_the_command_has_the_option(
    grown: FeatureStore, net: str, invoke: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATURESTORE_STORE", str(grown.path))
    monkeypatch.setenv("BLOCKS_ENGINE", "second")
    code, out, err = invoke("embed", "--backbone", net)
    assert (code, out) == (1, "")
    assert err.startswith("featurestore: 24 vectors of 'net'")
    assert invoke("embed", "--backbone", net, "--other-engine")[0] == 0


def test_an_engine_in_words() -> None:
    assert engine_text('{"tensorflow": "2.20"}', "float32") == "tensorflow in float32"
    assert [engine_text(damaged, "float32") for damaged in ("{}", "", "[", "[1]", "[" * 100_000)] == [""] * 5


def test_the_device_of_the_cpu_changes_no_extraction(net: str, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = load_backbone(net).spec
    assert extraction_of(spec).libraries == '{"first": "1.0"}', "as before devices were recorded"
    monkeypatch.setenv("BLOCKS_DEVICE", "cuda")
    other = load_backbone(net).spec
    assert (other.revision, other.device) == (spec.revision, "cuda")
    assert extraction_of(other).libraries == '{"device": "cuda", "first": "1.0"}'
