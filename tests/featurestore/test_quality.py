"""Every planted fault is found, and a clean store has none."""

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from support import Collection, CountingBackbone, jpeg

from featurestore import FeatureStore
from featurestore.catalog.writer import open_writer
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.commands.texts import quality_text, summary_text
from featurestore.embedding.staging import to_arrow
from featurestore.errors import InputError
from featurestore.explore import near
from featurestore.explore.near import near_by_cosine, near_by_hash
from featurestore.explore.quality import QualityReport, check, leakage
from featurestore.storage.names import embeddings_key
from featurestore.storage.schemas import embeddings_schema


def test_a_clean_store_has_no_faults(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    report = check(store, hash_distance=0, cosine=1.0)
    assert report.faults == 0
    assert report.coverage == {"counting": (24, 24)}
    assert report.labels["Drama"] == 8


def plant(store: FeatureStore, collection: Collection) -> None:
    """One of each: twins, a near twin, a broken file, an id without metadata, a movie without image."""
    images = collection.images
    (images / "110.jpg").write_bytes((images / "103.jpg").read_bytes())
    with Image.open(images / "104.jpg") as image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=60)
    (images / "111.jpg").write_bytes(buffer.getvalue())
    (images / "112.jpg").write_bytes(b"not an image")
    (images / "900.jpg").write_bytes(jpeg(900))
    store.ingest(metadata=collection.metadata, images=images)
    store.embed(CountingBackbone())


def test_planted_faults_are_all_found(store: FeatureStore, collection: Collection) -> None:
    plant(store, collection)
    report = check(store, cosine=0.999, split={103: "train", 110: "test", 104: "train", 105: "test"})
    assert report.exact_duplicates == [[103, 110]]
    assert [(a, b) for a, b, _ in report.near_by_hash] == [(104, 111)]
    assert (104, 111) in [(a, b) for a, b, _ in report.near_by_cosine["counting"]]
    assert (103, 110) not in [(a, b) for a, b, _ in report.near_by_cosine["counting"]], "named once, as exact"
    assert list(report.quarantined) == ["112.jpg"]
    assert report.without_metadata == [900]
    assert report.metadata_without_image == 1, "that of the broken file"
    assert report.without_file == []
    assert report.leaking == [110]


def test_vectors_without_a_file_are_named(store: FeatureStore, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(3, dtype=np.float32))
    (tmp_path / "ids.txt").write_text("101\n501\n502\n")
    store.import_embeddings(tmp_path / "x.npy", backbone="theirs", ids=tmp_path / "ids.txt")
    report = check(store)
    assert report.without_file == [501, 502]
    assert "vectors without a file  2  (501, 502)" in quality_text(report)


def test_progress_ends_at_all_vectors(store: FeatureStore) -> None:
    store.embed(CountingBackbone())
    store.embed(CountingBackbone(name="other"))
    calls: list[tuple[int, int]] = []
    check(store, on_progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (48, 48)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)


@pytest.mark.parametrize(
    ("value", "reason"), [(np.nan, "NaN"), (np.inf, "infinity"), (0.0, "constant"), (7.0, "constant")]
)
def test_bad_vectors_that_got_in_are_found(store: FeatureStore, value: float, reason: str) -> None:
    """No command lets them in; a part written by hand stands for a fault in another program."""
    store.embed(CountingBackbone())
    revision = store.state.revisions["counting"]
    with open_writer(store.path) as writer, writer.commit() as commit:
        rows = store.query("SELECT * EXCLUDE (backbone, revision, part) FROM embeddings WHERE ImgId = 105")
        vector = np.full((1, 16), value, np.float32) if np.isfinite(value) else np.arange(16, dtype=np.float32)[None]
        if not np.isfinite(value):
            vector[0, 3] = value
        table = rows.set_column(rows.column_names.index("embedding"), "embedding", to_arrow(vector))
        planted = table.select(embeddings_schema(16).names).cast(embeddings_schema(16))
        commit.append(embeddings_key("counting", revision), planted)
    found = check(store.refresh()).bad_vectors["counting"]
    assert list(found) == [105]
    assert reason in found[105]


def test_pairs_are_those_of_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "BLOCK_SIZE", 100_000)  # many blocks
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 8)).astype(np.float32)
    U = X / np.linalg.norm(X, axis=1, keepdims=True)
    expected = {(int(a), int(b)) for a, b in np.argwhere(np.triu(U @ U.T, 1) >= 0.96)}
    first, second, value = near_by_cosine(X, 0.96)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == expected
    assert len(first) == len(expected) > 0
    np.testing.assert_allclose(value, (U[first] * U[second]).sum(axis=1), atol=1e-5)
    codes = [format(code, "016x") for code in rng.integers(0, 2**12, 2000)]
    codes[5] = codes[6] = ""
    found = near_by_hash(codes, 1)
    alike = {
        (a, b)
        for a in range(2000)
        for b in range(a + 1, 2000)
        if codes[a] and codes[b] and (int(codes[a], 16) ^ int(codes[b], 16)).bit_count() <= 1
    }
    assert set(zip(found.first.tolist(), found.second.tolist(), strict=True)) == alike
    assert {5, 6}.isdisjoint(found.first.tolist() + found.second.tolist())


def test_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "MOST_PAIRS", 100)
    assert len(near_by_hash([]).first) == 0
    with pytest.raises(InputError, match="more than 100 pairs of hashes that differ in at most 4 bits: lower"):
        near_by_hash(["00ff00ff00ff00ff"] * 20)
    with pytest.raises(InputError, match=r"more than 100 pairs of vectors with a cosine of 0.98 or more: raise"):
        near_by_cosine(np.ones((20, 3), np.float32))


def test_leakage_counts_test_rows() -> None:
    assert leakage({1: 1, 2: 1, 3: 1, 4: 4}, [1, 4], [2, 3, 5]) == [2, 3]
    assert leakage({}, [1], [1]) == [1], "the same id on both sides"


@pytest.mark.real
def test_the_real_posters_hold_the_known_twins(real_data: Path, tmp_path: Path) -> None:
    for folder, groups in (("posters_modern", 1), ("posters_classic", 3)):
        store = FeatureStore(tmp_path / folder)
        store.ingest(metadata=real_data / "MovieGenre.csv.gz", images=real_data / folder)
        assert len(check(store).exact_duplicates) == groups


def test_the_command(store: FeatureStore, collection: Collection, tmp_path: Path, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    plant(store, collection)
    split = tmp_path / "split.csv"
    split.write_text("ImgId,side\n103,train\n110,test\n")
    base = ["featurestore", "quality", "--store", str(store.path), "--split", str(split)]
    monkeypatch.setattr("sys.argv", [*base, "--json"])
    assert run_command(cli, "featurestore") == 0
    assert json.loads(capfd.readouterr().out)["exact_duplicates"] == [[103, 110]]
    monkeypatch.setattr("sys.argv", [*base, "--strict"])
    assert run_command(cli, "featurestore") == 1
    assert "103 = 110" in capfd.readouterr().out
    split.write_text("id,part\n1,2\n")
    monkeypatch.setattr("sys.argv", base)
    assert run_command(cli, "featurestore") == 1
    assert "expected a CSV with the columns ImgId and side" in capfd.readouterr().err


def test_thresholds_out_of_range(store: FeatureStore) -> None:
    with pytest.raises(InputError, match="expected 0 to 64"):
        check(store, hash_distance=65)
    with pytest.raises(InputError, match="expected train and test"):
        check(store, split={101: "validation"})
    assert isinstance(store.sql("SELECT 1 AS x"), pa.Table)


def test_long_lists_are_folded(kept_store: FeatureStore) -> None:
    names = [f"b{number:02}" for number in range(14)]
    labels = {f"class {number:03}": 5 for number in range(200)}
    report = QualityReport(
        images=1000,
        without_metadata=[],
        metadata_without_image=0,
        without_file=list(range(1000)),
        exact_duplicates=[list(range(50)), *([a, a + 1] for a in range(100, 130, 2))],
        near_by_hash=[(a, a + 1, 2) for a in range(12)],
        near_by_cosine={name: [(a, a + 1, 0.99) for a in range(300)] for name in names},
        quarantined={f"{number}.jpg": "broken" for number in range(11)},
        bad_vectors={name: dict.fromkeys(range(11), "NaN") for name in names},
        coverage=dict.fromkeys(names, (1000, 1000)),
        labels=labels,
        contradicting=[[a, a + 1] for a in range(11)],
        leaking=None,
    )
    text = quality_text(report)
    for sentence in (
        "class 009 5 and 190 more",
        "  0 = 1 = 2 = 3 = 4 = 5 = 6 = 7 = 8 = 9 and 40 more",
        "… and 6 more groups: featurestore quality --json",
        "… and 1 more contradicting group: featurestore quality --json",
        "… and 2 more pairs: featurestore quality --json",
        "… and 290 more pairs: featurestore quality --json",
        "… and 1 more bad vector: featurestore quality --json",
        "… and 4 more backbones: featurestore quality --json",
        "… and 1 more quarantined file: featurestore quality --json",
    ):
        assert sentence in text.splitlines() or f"{sentence}\n" in text, sentence
    assert (text.count("b09"), text.count("b10")) == (1, 0)
    summary = kept_store.info()
    summary["labels"] = labels
    summary["backbones"] = [{**summary["backbones"][0], "name": name} for name in names]
    lines = summary_text(summary).splitlines()
    assert sum(line.startswith("backbone ") for line in lines) == 10
    assert "… and 4 more backbones: featurestore info --json" in lines
    assert any(line.endswith("class 009 5 and 190 more)") for line in lines)
