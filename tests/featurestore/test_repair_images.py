"""After a repair of the table `images`, each image of a general collection has the number that it had."""

from pathlib import Path

import pytest
from support import CountingBackbone, jpeg, manifest_of

from featurestore import FeatureStore


def put(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(seed, size=(16, 16)))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images whose numbers are not in the order of their names: the first one came last."""
    for number in range(1, 6):
        put(tmp_path / "images" / f"a/{number}.jpg", number)
    return tmp_path / "images"


@pytest.fixture
def store(images: Path, tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path / "store")
    store.ingest(images=images)
    store.embed(CountingBackbone())
    put(images / "a/0.jpg", 0)
    store.ingest(images=images)
    store.embed(CountingBackbone())
    return store


def numbers(store: FeatureStore) -> dict[str, int]:
    rows = store.refresh().query("SELECT ImgName, ImgId FROM images WHERE status = 'ok'").to_pylist()
    return {row["ImgName"]: row["ImgId"] for row in rows}


def parts(store: FeatureStore) -> list[Path]:
    return [Path(path) for path in store.refresh().parts("images")]


@pytest.mark.parametrize("damaged", ["part", "manifest", "every part", "every part, names changed"])
def test_each_image_keeps_its_number(damaged: str, images: Path, store: FeatureStore) -> None:
    before = numbers(store)
    assert before["a/0.jpg"] == 5
    if damaged == "manifest":
        manifest_of(store.path, "images").unlink()
    for path in parts(store) if damaged == "part" else (store.path / "images").glob("*") if "every" in damaged else ():
        path.write_bytes(b"damaged")
    if "changed" in damaged:
        (images / "a").rename(images / "b")
        before = {name.replace("a/", "b/"): number for name, number in before.items()}
    report = store.repair()
    assert report.rebuilt == {"images": 6}
    assert store.ingest(images=images).joined == 6
    assert numbers(store) == before
    assert store.embed(CountingBackbone()).computed == 0
    assert store.verify().damaged == {}


def test_a_number_without_a_trace_is_not_given_to_an_image_with_a_vector(images: Path, store: FeatureStore) -> None:
    for path in (store.path / "images").glob("*"):
        path.write_bytes(b"damaged")
    put(images / "a/3.jpg", 33)  # the image with the number 2 is another one now
    store.repair()
    store.ingest(images=images)
    after = numbers(store)
    assert after["a/3.jpg"] == 6
    assert {after[name] for name in after if name != "a/3.jpg"} == {0, 1, 3, 4, 5}
