"""Models whose compiled libraries would end the process are one sentence; trees that are none are refused."""

import io
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_models import CARD, Members, edited

from benchmarks.heads.contract import example
from benchmarks.heads.registry import find
from benchmarks.models import folder as models
from benchmarks.models import trial
from featurestore.errors import InputError

# Few and small trees.
SETTINGS: dict[str, dict[str, Any]] = {
    "xgboost": {"rounds": 2},
    "lightgbm": {"rounds": 2},
    "hist_gradient_boosting": {"rounds": 2},
    "random_forest": {"trees": 2},
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a head that was fitted, each once."""
    root = tmp_path_factory.mktemp("models")

    def make(name: str) -> Path:
        if not (root / name).exists():
            model = find([name])[0].build(seed=0, **SETTINGS[name]).fit(*example(90, 60))
            models.save(model, CARD, root / name)
        return root / name

    return make


def largest_array(members: Members, kind: str) -> str:
    """The name of the longest array with a field."""
    names = [name for name, content in members.items() if kind.encode() in content[:2000] and name.endswith(".npy")]
    return max(names, key=lambda name: len(members[name]))


def nodes_changed(field: str, value: int) -> Callable[[Members], None]:
    """Sets a field of the first node of a tree, as its arrays are stored."""

    def change(members: Members) -> None:
        name = largest_array(members, f"'{field}'")
        nodes = np.load(io.BytesIO(members[name]))
        nodes[field][0] = value
        file = io.BytesIO()
        np.save(file, nodes)
        members[name] = file.getvalue()

    return change


def text_changed(old: bytes, new: bytes) -> Callable[[Members], None]:
    def change(members: Members) -> None:
        assert old in members["schema.json"]
        members["schema.json"] = members["schema.json"].replace(old, new)

    return change


TREES: dict[str, tuple[str, Callable[[Members], None]]] = {
    "a child far away": ("random_forest", nodes_changed("left_child", 10**9)),
    "a circle": ("random_forest", nodes_changed("left_child", 0)),
    "a column that there is not": ("random_forest", nodes_changed("feature", 10**9)),
    "a child of a histogram far away": ("hist_gradient_boosting", nodes_changed("left", 10**9)),
    "a column of a histogram that there is not": ("hist_gradient_boosting", nodes_changed("feature_idx", 10**9)),
}


def in_this_process(command: Sequence[str], *, input: bytes, **given: object) -> subprocess.CompletedProcess[bytes]:
    """What the trial's process would do, for models that end none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["trial", command[-1]])
        patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(input)))
        try:
            trial.main()
        except SystemExit as ended:
            return subprocess.CompletedProcess(command, int(str(ended.code)))
    return subprocess.CompletedProcess(command, 0)


@pytest.mark.parametrize("how", TREES)
def test_trees_that_are_none(
    how: str, stored: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, change = TREES[how]
    monkeypatch.setattr("subprocess.run", in_this_process)
    with pytest.raises(InputError, match=r"can't be used: it has trees that are none, get the model folder again"):
        models.load(edited(stored(head), tmp_path / "model", change))


def test_a_model_that_ends_the_process(stored: Callable[[str], Path], tmp_path: Path) -> None:
    folder = edited(stored("lightgbm"), tmp_path / "model", text_changed(b"Tree=1", b"ree=14"))
    with pytest.raises(InputError, match=r"can't be used: it ends the process that loads it, get the model folder"):
        models.load(folder)


def test_a_model_that_does_not_answer(stored: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 0.01)
    with pytest.raises(InputError, match=r"can't be used: it does not answer in 0 s"):
        models.load(stored("xgboost"))


def test_whole_models_are_tried_and_used(stored: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", in_this_process)
    for head in SETTINGS:
        assert models.load(stored(head)).predict_proba(np.zeros((1, 60), np.float32)).shape == (1, 3)


def test_nothing_is_tried_without_compiled_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.run", lambda *given, **more: pytest.fail("a process was started"))
    models.save(find(["ridge"])[0].build(seed=0).fit(*example(90, 60)), CARD, tmp_path / "model")
    assert models.load(tmp_path / "model").classes == ("a", "b", "c")
