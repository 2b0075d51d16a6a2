"""Copies of an image stay on one side: equal vectors always, near-duplicates where asked, and otherwise are told of."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_store import in_this_process
from datasets_for_bench import plain_dataset
from PIL import Image
from support import CountingBackbone, movie, write_metadata

from benchmarks.commands.cli import cli
from benchmarks.heads.registry import find
from benchmarks.plan.checks import large_group, near_across, signs_in_splits
from benchmarks.plan.dataset import EmbeddingDataset, aligned
from benchmarks.plan.groups import Grouping, NearGroups, equal_vectors, joined, near_groups, union
from benchmarks.plan.near import grouped
from benchmarks.plan.protocols import Protocol, Split
from benchmarks.plan.reading import from_store
from benchmarks.report.tables import tables
from benchmarks.results.read import runs
from benchmarks.results.selection import selected
from benchmarks.run import runner
from benchmarks.run.planning import plan_run
from featurestore import FeatureStore
from featurestore.commands.options import run_command
from featurestore.errors import InputError
from featurestore.explore import near

PICTURES, COPIES = 24, (95, 75, 50)
# Means of sixteen blocks are alike in all pictures.
NEAR = Grouping(near=True, cosine=0.999)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Drawn pictures, each three times as JPEG of another quality, genres dealt by chance: nothing can be learned."""
    folder = tmp_path_factory.mktemp("copies")
    (folder / "posters").mkdir()
    rng = np.random.default_rng(3)
    rows = []
    for number in range(PICTURES):
        low = rng.integers(0, 255, (6, 4, 3), dtype=np.uint8)
        image = Image.fromarray(low).resize((80, 120), Image.Resampling.BICUBIC)
        genre = ("Drama", "Comedy")[int(rng.integers(2))]
        for place, quality in enumerate(COPIES):
            img_id = 1 + number * len(COPIES) + place
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=quality)
            (folder / "posters" / f"{img_id}.jpg").write_bytes(buffer.getvalue())
            rows.append(movie(img_id, genre))
    store = FeatureStore(folder / "store")
    store.ingest(metadata=write_metadata(folder / "m.csv", rows), images=folder / "posters")
    store.embed(CountingBackbone())
    return store


@pytest.fixture
def store(copies: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    monkeypatch.setattr("benchmarks.run.execution.computed", in_this_process)
    return copies


def vectors_alone(folder: Path, X: np.ndarray, genres: list[str], *, name: str = "v") -> FeatureStore:
    """A store of vectors whose images have no file."""
    folder.mkdir(exist_ok=True)
    store = FeatureStore(folder / "store")
    np.save(folder / f"{name}.npy", X.astype(np.float32))
    (folder / "ids.txt").write_text("".join(f"n{i:02}\n" for i in range(len(X))))
    table = folder / "m.csv"
    table.write_text("\n".join(["id,label", *(f"n{i:02},{genre}" for i, genre in enumerate(genres))]) + "\n")
    store.import_embeddings(
        folder / f"{name}.npy", backbone=name, ids=folder / "ids.txt", metadata=table, key="id", label="label"
    )
    return store


def with_pairs(data: EmbeddingDataset, pairs: list[tuple[int, int]]) -> EmbeddingDataset:
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    return replace(data, near=(NearGroups("cosine over b, at least 0.98", first, second),))


def test_equal_vectors_are_found_bit_for_bit() -> None:
    X = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    X[[20, 30]] = X[4]
    X[40] = X[3][::-1]  # the same sum of bits
    X[41] = np.nextafter(X[5], np.float32(9))
    later, first = equal_vectors(X)
    assert (later.tolist(), first.tolist()) == ([20, 30], [4, 4])
    assert len(equal_vectors(X[:20])[0]) == 0


def test_groups_are_joined_over_any_number_of_steps() -> None:
    groups = np.array([10, 11, 12, 13, 10, 15])
    assert joined(groups, np.array([13, 11]), np.array([12, 12])).tolist() == [10, 11, 11, 11, 10, 15]
    assert joined(groups, np.array([], int), np.array([], int)) is groups
    assert union([groups, np.array([0, 1, 1, 3, 4, 4]), groups]).tolist() == [10, 11, 11, 13, 10, 10]
    assert union([groups, np.arange(6)]).tolist() == groups.tolist()


def test_images_without_bytes_but_with_equal_vectors_are_one_group(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    X = np.repeat(rng.normal(size=(20, 8)), 3, axis=0)
    genres = np.repeat(np.array(["Drama", "Comedy"])[np.arange(20) % 2], 3).tolist()
    store = vectors_alone(tmp_path, X, genres)
    data = from_store(store, "v")
    assert data.groups.tolist() == data.ids[::3].repeat(3).tolist()
    for split in Protocol("cv", folds=4).splits(data):
        assert set(data.groups[split.train]).isdisjoint(data.groups[split.test])


def test_all_backbones_of_a_run_have_the_groups_of_any(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    one, two = rng.normal(size=(2, 40, 6)).astype(np.float32)
    one[1], two[2] = one[0], two[1]
    store = vectors_alone(tmp_path, one, ["Drama", "Comedy"] * 20, name="a")
    np.save(tmp_path / "b.npy", two)
    store.import_embeddings(tmp_path / "b.npy", backbone="b", ids=tmp_path / "ids.txt")
    data = {name: from_store(store, name) for name in ("a", "b", "a+b")}
    n = int(data["a"].ids[0])
    assert [data[name].groups[:4].tolist() for name in data] == [
        [n, n, n + 2, n + 3],
        [n, n + 1, n + 1, n + 3],
        [n, n, n, n + 3],
    ]
    for some in (["a", "b"], ["a+b", "b"], ["b", "a"], ["a+b"]):
        for one_of in aligned([data[name] for name in some]):
            assert one_of.groups[:4].tolist() == [n, n, n, n + 3]


def test_groups_that_do_not_change_keep_their_splits() -> None:
    plain = plain_dataset(90, 5)
    plain.groups[40] = plain.groups[7]
    splits = [split.hash(plain.ids) for split in Protocol("cv", repeats=2).splits(plain)]
    for same in (*aligned([plain, plain]), with_pairs(plain, [(1, 2)])):
        assert [split.hash(plain.ids) for split in Protocol("cv", repeats=2).splits(same)] == splits


def test_near_duplicates_across_a_split_are_counted() -> None:
    data = with_pairs(plain_dataset(40, 5), [(0, 30), (1, 30), (2, 31), (3, 4), (32, 33)])
    split = Split("study", 0, 0, np.arange(20), np.arange(20, 40))
    assert near_across(data, [split]) == (
        "2 of 20 test rows have a near-duplicate in the training part of the split (2 by cosine over b, at least "
        "0.98), so that scores may be too high: `--protocol cv --group near` keeps near-duplicates on one side"
    )
    assert near_across(with_pairs(data, [(3, 4), (32, 33)]), [split]) is None
    larger = Split("cv", 0, 1, np.arange(30), np.arange(30, 40))
    said = near_across(data, [replace(split, protocol="cv", test=np.arange(31, 40)), larger]) or ""
    assert said.startswith("2 of 10 test rows have a near-duplicate in the training part of a split (")
    assert said.endswith(": `--group near` keeps near-duplicates on one side")


def test_a_copy_of_a_copy_counts_by_its_group() -> None:
    data = plain_dataset(40, 5)
    data.groups[[35, 36]] = 30  # copies, of which only 30 stands in the pairs
    split = Split("study", 0, 0, np.arange(20), np.arange(33, 40))
    assert (near_across(with_pairs(data, [(0, 30)]), [split]) or "").startswith("2 of 7 test rows have")


def test_thresholds_that_join_everything_are_told() -> None:
    data = with_pairs(plain_dataset(60, 5), [(i, i + 1) for i in range(20)])
    splits = list(Protocol("cv", folds=3).splits(data))
    assert (near_across(data, splits) or "").endswith(
        "but these thresholds put 21 of 60 rows into one group: lower --hash-distance or raise --cosine first"
    )
    chain = replace(data, groups=np.where(np.arange(60) < 21, 0, np.arange(60)), near=(), grouping=NEAR)
    splits = list(Protocol("cv", folds=3).splits(chain))
    sentence = "21 of 60 rows are near-duplicates of each other, always on one side of a split: lower --hash-distance"
    assert (large_group(chain, splits) or "").startswith(sentence)
    assert "an image that stands for missing ones" in (large_group(replace(chain, grouping=Grouping()), splits) or "")


def test_too_many_pairs_are_a_sentence_or_an_error(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "MOST_PAIRS", 10)
    data = [from_store(store, "counting")]
    (found,) = grouped(store, data, Grouping(cosine=-1))
    signs = signs_in_splits(found, list(Protocol("cv", folds=2).splits(found)))
    assert any("more than 10 pairs of vectors with a cosine of -1 or more: raise --cosine" in sign for sign in signs)
    with pytest.raises(InputError, match=r"near-duplicates can't be grouped: more than 10 pairs"):
        grouped(store, data, Grouping(near=True, cosine=-1))
    with pytest.raises(InputError, match="expected 0 to 64 and -1 to 1"):
        Grouping(hash_distance=65)


def test_hash_and_cosine_are_measures_of_their_own() -> None:
    groups = np.array([1, 2, 3, 1])
    X = np.array([[1, 0], [0.1, 1], [0, 1], [1, 0]], np.float32)
    by_hash, by_cosine = near_groups(groups, {"b": X}, ["00", "01", "", "00"], Grouping())
    assert (by_hash.first.tolist(), by_hash.second.tolist()) == ([1], [2])
    assert (by_cosine.first.tolist(), by_cosine.second.tolist()) == ([2], [3])
    assert by_hash.measure == "perceptual hash, at most 4 of 64 bits apart"


def test_copies_of_another_quality_are_told_of_and_grouped(store: FeatureStore) -> None:
    plan = {"heads": find(["knn"]), "protocols": [Protocol("cv", folds=4)]}
    (exact,) = runner.run(store, **plan)
    (table,) = tables(store)
    assert table["rows"][0]["accuracy"] > 0.9, "what a copy in the training part is worth"
    assert any("have a near-duplicate in the training part of a split" in sign for sign in table["warnings"])
    assert "perceptual hash" in table["warnings"][-1]
    assert runner.run(store, **plan)[0].run_id == exact.run_id, "the same run is no second record"
    (apart,) = runner.run(store, **plan, grouping=NEAR)
    (table,) = tables(store)
    assert table["runs"] == [apart.run_id], "other groups are another table"
    assert "near-duplicates (4 bits of the perceptual hash, cosine 0.999) on one side" in table["protocol_text"]
    assert not any("near-duplicate" in sign for sign in table["warnings"])
    assert table["rows"][0]["accuracy"] < 0.8, "nothing can be learned"
    runner.run(store, **plan)
    (newest,) = selected(store)
    assert len(newest["peers"]) == 2, "the two runs without, and not the one with"
    assert apart.run_id not in newest["peers"]
    (found,) = grouped(store, [from_store(store, "counting")], NEAR)
    pictures = (found.ids - 1) // len(COPIES)
    assert all(len(np.unique(found.groups[pictures == one])) == 1 for one in range(PICTURES))


def test_the_warning_of_a_new_version_makes_a_new_record(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run from before warnings of near-duplicates has the same cells."""
    plan = {"heads": find(["majority"]), "protocols": [Protocol("cv", folds=3)]}

    def silent(*arguments: object, **more: object) -> object:
        return replace(plan_run(*arguments, **more), warnings=[])  # type: ignore[arg-type]

    with monkeypatch.context() as old:
        old.setattr(runner, "plan_run", silent)
        runner.run(store, **plan)
    assert runs(store)[0]["warnings"] == []
    (again,) = runner.run(store, **plan)
    assert again.computed == 0
    assert any("near-duplicate" in sign for sign in runs(store)[0]["warnings"])


def test_the_commands_take_it(copies: FeatureStore, capfd, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    asked: list[Grouping] = []

    def noted(*_: object, grouping: Grouping, **__: object) -> None:
        asked.append(grouping)
        raise InputError("enough")

    monkeypatch.setattr(runner, "run", noted)
    more = ["--store", str(copies.path), "--group", "near", "--cosine", "0.99", "--hash-distance", "2"]
    for command in ("run", "canary"):
        monkeypatch.setattr("sys.argv", ["benchmarks", command, *more])
        assert run_command(cli, "benchmarks") == 1
        monkeypatch.setattr("sys.argv", ["benchmarks", command, *more[:2]])
        assert run_command(cli, "benchmarks") == 1
    assert asked == 2 * [Grouping(True, 2, 0.99), Grouping()]
    assert "enough" in capfd.readouterr().err
