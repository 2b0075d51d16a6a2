"""A bundle opens with its lock, tells all that is known of its rows, and notices a single changed bit."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support import Collection, CountingBackbone

from featurestore import Features, FeatureStore, open_bundle
from featurestore.backbones.base import Preprocessing
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.errors import InputError, IntegrityError
from featurestore.features.bundle import write_bundle


@pytest.fixture
def features(store: FeatureStore) -> Features:
    """Labelled features of one backbone."""
    store.embed(CountingBackbone())
    return store.features("counting", label="Genre1")


@pytest.fixture
def bundle(store: FeatureStore, features: Features, tmp_path: Path) -> Path:
    """`features` as a bundle."""
    write_bundle(store, features, tmp_path / "bundle", view="labeled")
    return tmp_path / "bundle"


def same(one: Features, other: Features) -> None:
    assert one.X.tobytes() == other.X.tobytes()
    assert one.table.equals(other.table)
    for array, expected in ((one.ids, other.ids), (one.groups, other.groups), (one.y, other.y)):
        assert (array is None) == (expected is None)
        if array is not None:
            np.testing.assert_array_equal(array, expected)
    for name in ("classes", "dims", "label", "missing", "backbone", "revision", "state_id", "synthetic"):
        assert getattr(one, name) == getattr(other, name), name


def test_the_command_prints_the_lock(store: FeatureStore, features: Features, tmp_path: Path, capfd) -> None:  # type: ignore[no-untyped-def]
    arguments = ["export", "--store", str(store.path), "--backbone", "counting", "--label", "Genre1"]
    arguments += ["--format", "bundle", "-o", str(tmp_path / "bundle")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["featurestore", *arguments])
        assert run_command(cli, "featurestore") == 0
    lock = capfd.readouterr().out.split("lock ")[1].strip()
    same(open_bundle(tmp_path / "bundle", lock=lock), features)
    for wrong in ("sha256:0", ""):
        with pytest.raises(IntegrityError, match=f"manifest.json has the lock sha256:.*expected {wrong}: copy"):
            open_bundle(tmp_path / "bundle", lock=wrong)


def test_lineage_of_every_row(store: FeatureStore, collection: Collection, bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["state"] == store.state.id
    assert manifest["backbones"][0]["weights"] == "blocks-1"
    assert manifest["backbones"][0]["preprocessing"]["width"] == 16
    assert [one["at"][:2] for one in manifest["backbones"][0]["computed"]] == ["20"]
    rows = pq.read_table(bundle / "rows.parquet").to_pylist()
    assert len(rows) == 20
    bytes_of = {img_id: (collection.images / f"{img_id}.jpg").read_bytes() for img_id in collection.ids}
    for row in rows:
        assert hashlib.sha256(bytes_of[row["ImgId"]]).hexdigest() == row["content_hash"]


def test_several_backbones_and_no_rows(store: FeatureStore, features: Features, tmp_path: Path) -> None:
    store.embed(CountingBackbone(name="other", preprocessing=Preprocessing(16, 16, "signed")))
    both = store.features(["other", "counting"], view="images_usable", columns=["ImgName"])
    write_bundle(store, both, tmp_path / "both", view="images_usable")
    same(open_bundle(tmp_path / "both"), both)
    store.create_view("nobody", "SELECT ImgId, Genre1, ImgId AS duplicate_group FROM collection WHERE ImgId < 0")
    empty = store.features("counting", view="nobody", label="Genre1")
    write_bundle(store, empty, tmp_path / "empty", view="nobody")
    same(open_bundle(tmp_path / "empty"), empty)


def test_an_opened_bundle_can_be_trained_on(bundle: Path, features: Features) -> None:
    vector, label = open_bundle(bundle).to_torch()[2]
    np.testing.assert_array_equal(vector.numpy(), features.X[2])
    assert features.y is not None
    assert int(label) == features.y[2]


@pytest.mark.parametrize("name", ["features.parquet", "rows.parquet", "manifest.json"])
def test_a_changed_bit_is_named(bundle: Path, name: str) -> None:
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=name):
        open_bundle(bundle)
    path.unlink()
    with pytest.raises((IntegrityError, InputError)):
        open_bundle(bundle)


def test_files_that_agree_with_one_another_still_meet_the_pinned_lock(
    store: FeatureStore, bundle: Path, tmp_path: Path
) -> None:
    """Somebody makes the bundle again, of other rows: it is whole, and not the one that was pinned."""
    pinned = (bundle / "bundle.lock").read_text().strip()
    fewer = store.features("counting", view="images_usable")
    with pytest.raises(InputError, match="exists"):
        write_bundle(store, fewer, bundle, view="images_usable")
    write_bundle(store, fewer, bundle, view="images_usable", force=True)
    assert len(open_bundle(bundle)) == 24
    with pytest.raises(IntegrityError, match=r"manifest\.json has the lock"):
        open_bundle(bundle, lock=pinned)
    assert not list(tmp_path.glob(".bundle*"))


def test_force_never_removes_what_is_no_bundle(store: FeatureStore, features: Features, tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(InputError, match="is not a bundle and is not replaced"):
        write_bundle(store, features, tmp_path / "thesis", view="labeled", force=True)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_a_failed_rewrite_leaves_the_old_bundle(
    store: FeatureStore, bundle: Path, features: Features, tmp_path: Path
) -> None:
    def full(done: int, total: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left on device"):
        write_bundle(store, features, bundle, view="labeled", force=True, on_progress=full)
    same(open_bundle(bundle), features)
    assert not list(tmp_path.glob(".bundle*"))


def test_no_bundle_and_a_later_one(bundle: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", bundle / "manifest.json"):
        with pytest.raises(InputError, match="there is no bundle"):
            open_bundle(path)
    from featurestore.features.bundle import _lock

    content = (bundle / "manifest.json").read_bytes().replace(b'"format": 1', b'"format": 9')
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match="format 9, expected 1"):
        open_bundle(bundle, lock=_lock(content))


def test_reading_a_bundle_loads_nothing_beyond_the_core(bundle: Path) -> None:
    probe = (
        "import sys, featurestore; f = featurestore.open_bundle(sys.argv[1]); print(f.X.shape);"
        "print([m for m in ('PIL', 'sklearn', 'torch', 'tensorflow', 'pandas', 'polars') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", probe, str(bundle)], capture_output=True, text=True)
    assert result.stdout.splitlines() == ["(20, 16)", "[]"], result.stderr
