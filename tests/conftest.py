"""The fixtures of both packages; `support` holds what they are made of."""

import os
import signal
from pathlib import Path

import pytest

# Several test processes share the cores: one thread each is faster than fighting over them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell starts what runs in the background with Ctrl-C ignored, and so would be what the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from support import Collection, CountingBackbone

from featurestore import FeatureStore

REAL = Path(__file__).resolve().parents[2] / "shared" / "data"


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
    """A store that has ingested `collection`."""
    store = FeatureStore(tmp_path / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    return store


@pytest.fixture
def backbone() -> CountingBackbone:
    """A backbone that counts."""
    return CountingBackbone()
