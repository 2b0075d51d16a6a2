"""Whether a bench starts workers: most tests are of what is stored and shown, and a worker takes seconds to start."""

import pytest
from bench_store import without_workers


@pytest.fixture
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench computes in the test's own process."""
    without_workers(monkeypatch)
