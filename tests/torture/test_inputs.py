"""Every kind of bad input ends as it must, in this process; `make torture` does the same with processes."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from featurestore import open_bundle
from featurestore.errors import FeatureStoreError
from torture.inputs import Bed, Kind, corpus, faults
from torture.kinds.models import BUNDLES, MANIFESTS, WEIGHTS, bundle, relocked, weights
from torture.launch import in_process

KINDS = corpus()
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    """One master store for all kinds of a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("FEATURESTORE_STORE", raising=False)
        yield Bed(tmp_path_factory.mktemp("inputs") / "bed", in_process)


def test_there_are_many_kinds() -> None:
    assert len({(kind.family, kind.name) for kind in KINDS}) == len(KINDS) >= 80


@pytest.mark.parametrize(
    "kind", KINDS, ids=lambda kind: f"{kind.family}: {kind.name}".encode("ascii", "replace").decode()
)
def test_each_kind_ends_as_it_must(kind: Kind, bed: Bed) -> None:
    if kind.needs:
        pytest.skip(kind.needs)
    assert faults(kind, bed) == []


@pytest.mark.parametrize(("name", "file", "damage", "sentence"), BUNDLES, ids=[name for name, *_ in BUNDLES])
def test_a_damaged_bundle_is_named(
    bed: Bed, tmp_path: Path, name: str, file: str, damage: Damage, sentence: str
) -> None:
    folder = tmp_path / "bundle"
    bundle(folder, bed.master / "store")
    damage(folder / file)
    with pytest.raises(FeatureStoreError, match=sentence):
        open_bundle(folder)


@pytest.mark.parametrize(("name", "manifest", "sentence"), MANIFESTS, ids=[name for name, *_ in MANIFESTS])
def test_another_manifest_is_refused(bed: Bed, tmp_path: Path, name: str, manifest: object, sentence: str) -> None:
    folder = tmp_path / "bundle"
    bundle(folder, bed.master / "store")
    relocked(folder, manifest)
    with pytest.raises(FeatureStoreError, match=sentence):
        open_bundle(folder)


def test_another_lock_is_refused(bed: Bed, tmp_path: Path) -> None:
    lock = bundle(tmp_path / "bundle", bed.master / "store")
    assert len(open_bundle(tmp_path / "bundle", lock=lock)) == 6
    with pytest.raises(FeatureStoreError, match="expected sha256:0"):
        open_bundle(tmp_path / "bundle", lock="sha256:0")


@pytest.mark.parametrize(("name", "files", "sentence"), WEIGHTS, ids=[name for name, *_ in WEIGHTS])
def test_weights_that_are_none_are_refused(tmp_path: Path, name: str, files: dict[str, bytes], sentence: str) -> None:
    from benchmarks.finetune.weights import load

    with pytest.raises(FeatureStoreError, match=sentence) as caught:
        load(str(weights(tmp_path, files)))
    assert str(caught.value).isprintable()
