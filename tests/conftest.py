"""The fixtures of both packages; `support` holds what they are made of."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

# Several test processes share the cores: one thread each is faster than fighting over them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell starts what runs in the background with Ctrl-C ignored, and so would be what the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from support import Collection, CountingBackbone

from featurestore import FeatureStore
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test first: else one worker runs it alone at the end."""
    items.sort(key=lambda item: item.path.name != "test_readme.py")


REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def settings_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A settings folder of the tests: none of them reads or writes that of the person, nor do processes they start."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("settings")
        patch.setenv("FEATURESTORE_CONFIG", str(folder))
        yield folder


@pytest.fixture(scope="module", autouse=True)
def nothing_remembered(settings_folder: Path) -> None:
    """Each module begins without backbones that another one used."""
    (settings_folder / "backbones.json").unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def shell_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests marked so write `store.duckdb`: nothing but a shell reads it, and it takes most of the time of a commit."""
    if request.node.get_closest_marker("shell_file") is None:
        monkeypatch.setattr("featurestore.catalog.writer.write_shell_file", lambda layout, root: None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real posters, metadata and weights; skips where it is absent."""
    if not REAL.is_dir():
        pytest.skip("the real data in ../shared/data is absent")
    return REAL


@pytest.fixture
def collection(tmp_path: Path) -> Collection:
    """24 posters with metadata."""
    return Collection(tmp_path, 24)


@pytest.fixture
def store(collection: Collection, tmp_path: Path) -> FeatureStore:
    """A store that has ingested `collection`; no report is made, which takes most of the time and nobody reads here."""
    store = FeatureStore(tmp_path / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featurestore.collections.ingest.report_of", lambda *written, **how: None)
        store.ingest(metadata=collection.metadata, images=collection.images)
    return store


@pytest.fixture
def backbone() -> CountingBackbone:
    """A backbone that counts."""
    return CountingBackbone()


@pytest.fixture(scope="module")
def kept_store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """24 images with the backbone `counting`, for tests that leave the store as it is."""
    folder = tmp_path_factory.mktemp("kept")
    collection = Collection(folder, 24)
    store = FeatureStore(folder / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    return store.refresh()


@pytest.fixture(scope="module")
def embedded_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `embedded` copies."""
    root = tmp_path_factory.mktemp("embedded")
    collection, store = Collection(root, 24), FeatureStore(root / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    store.embed(CountingBackbone())
    store.append({"notes": pa.table({"x": [1]})})
    return store.path


@pytest.fixture
def embedded(embedded_once: Path, tmp_path: Path) -> FeatureStore:
    """24 images with the backbone `counting` and one row in a table `notes`, for tests that damage the store."""
    return FeatureStore(shutil.copytree(embedded_once, tmp_path / "store"))


@pytest.fixture
def invoke(
    kept_store: FeatureStore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """A command of the store over `kept_store`: exit code, stdout, stderr."""
    monkeypatch.setenv("FEATURESTORE_STORE", str(kept_store.path))

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["featurestore", *arguments])
        code = run_command(cli, "featurestore")
        return code, *capfd.readouterr()

    return call
