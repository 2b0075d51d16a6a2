"""`forget` that is killed at a call that changes a file: every state is whole, and a second run finishes."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from forgetting import GONE, needles, traces
from torture.content import strays, whole

from featurestore import FeatureStore
from featurestore.errors import InputError
from featurestore.storage.lock import HOLDER_FILE

pytestmark = pytest.mark.shell_file

CHANGING = ("mkdir", "replace", "rmdir", "unlink")


class Killed(BaseException):
    """Stands for the end of the process: nothing changes a file afterwards."""


@contextmanager
def killed(at: int) -> Iterator[list[str]]:
    """Yield the calls that change a file by their names; the one with the number ``at``, and all later ones, fail."""
    seen: list[str] = []

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def changing(path: Any, *more: Any, **options: Any) -> Any:
            if not str(path).endswith(HOLDER_FILE):  # else the lock of this process would be held for good
                seen.append(name)
                if len(seen) >= at > 0:
                    raise Killed
            return call(path, *more, **options)

        return changing

    with pytest.MonkeyPatch.context() as patch:
        for name in CHANGING:
            patch.setattr(os, name, counted(name, getattr(os, name)))
        with suppress(Killed):
            yield seen


@pytest.fixture(scope="module")
def forgotten(everywhere: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, int]:
    """What the store holds when nothing happens, and the number of calls that change a file."""
    store = FeatureStore(shutil.copytree(everywhere / "store", tmp_path_factory.mktemp("whole") / "store"))
    with killed(0) as calls:
        store.forget(GONE)
    return whole(store.path), len(calls)


@pytest.mark.parametrize("step", [35, pytest.param(1, marks=pytest.mark.slow)])
def test_wherever_it_is_killed_a_second_run_finishes(
    everywhere: Path, forgotten: tuple[Any, int], tmp_path: Path, step: int
) -> None:
    made = everywhere / "store"
    wanted, before = needles(FeatureStore(made)), whole(made)
    after, count = forgotten
    assert count > 30
    for at in range(1, count + 1, step):
        store = FeatureStore(shutil.copytree(made, tmp_path / str(at)))
        with killed(at) as calls:
            store.forget(GONE)
        assert len(calls) >= at
        assert store.verify().damaged == {}, at
        now = whole(store.path)
        for place in ("", "before/", "after/"):
            states = [
                {t: r for t, r in one.items() if t.rpartition("/")[0] == place[:-1]} for one in (now, before, after)
            ]
            assert states[0] in states[1:], f"call {at}: {place or 'the state'} is neither the old nor the new one"
        with suppress(InputError):  # it was killed behind its last change
            store.forget(GONE)
        assert whole(store.path) == after, at
        assert traces(store.path, wanted) == [], at
        assert strays(store.path) == [] or all(name.startswith("staging/") for name in strays(store.path)), at
        shutil.rmtree(store.path)
