"""A file of heads is run in a worker process only: whatever it does, the command has a sentence or its heads."""

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.heads.base import HeadSpec, Shown
from benchmarks.heads.registry import find, from_file
from benchmarks.plan.cells import plain_settings
from benchmarks.run.head_files import checked, heads_of
from featurestore.errors import InputError

FILE = """
import os
from benchmarks import head
os.environ["RAN_A_HEAD_FILE"] = "1"

class Kernel:
    def __repr__(self): return "a kernel"

@head("own", about="mine\\n", random=False, search={"depth": (1, 2), "kernel": (Kernel(), Kernel())})
def own(*, seed, depth=3, kernel=Kernel(), rates=(0.1, 0.2), path="none.txt"):
    from sklearn.tree import DecisionTreeClassifier
    assert isinstance(kernel, Kernel) and rates == (0.1, 0.2)
    return DecisionTreeClassifier(max_depth=depth, random_state=seed)
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(text)
    return path


def test_what_a_file_says_of_its_heads(tmp_path: Path) -> None:
    path = written(tmp_path, FILE)
    (spec,) = heads_of(path)
    assert "RAN_A_HEAD_FILE" not in os.environ
    assert (spec.name, spec.about, spec.random, spec.factory) == ("own", "mine\\n", False, f"{path}:own")
    shown = {"kernel": Shown("a kernel"), "rates": Shown("(0.1, 0.2)")}
    assert spec.parameters == {"depth": 3, "path": "none.txt"} | shown
    assert plain_settings(spec.parameters)["rates"] == "(0.1, 0.2)"
    (here,) = from_file(path)
    del os.environ["RAN_A_HEAD_FILE"]
    assert {name: repr(value) for name, value in here.parameters.items()} == {
        name: repr(value) for name, value in spec.parameters.items()
    }, "the same identity as before"
    assert repr(spec.search["depth"]) == "(1, 2)"
    assert spec.resolved().search["depth"] == (1, 2)
    model = spec.build(seed=0, depth=1)
    assert model.get_params()["max_depth"] == 1  # type: ignore[attr-defined]
    assert find(["own"], own=[spec]) == [spec]
    assert [list(one) for one in checked([spec, *find(["majority"])])] == [["nan"], []], "trees take NaN"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("import os; os._exit(0)", r"'.*mine.py' can't be run: its process died \(exit code 0\)"),
        ("raise KeyboardInterrupt", "can't be run: KeyboardInterrupt"),
        ("x = 1", "marks no head"),
        (FILE.replace('return "a kernel"', "raise SystemExit(0)"), "can't be run: SystemExit ended its task"),
    ],
)
def test_a_file_that_ends_its_process(code: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        heads_of(written(tmp_path, code))


def test_settings_of_any_kind_are_stored_as_json() -> None:
    given = {"a": (1, [np.int64(2)]), "b": float("nan"), "c": {1}, "d": np.float32(0.5), "e": None, "f": print}
    assert plain_settings(given) == {
        "a": [1, [2]],
        "b": "nan",
        "c": "{1}",
        "d": 0.5,
        "e": None,
        "f": "<built-in function print>",
    }


def test_code_of_users_has_a_process_of_its_own() -> None:
    assert find(["knn"])[0].is_built_in
    for factory in (
        "mine:make",
        "/home/benchmarks.heads.py:make",
        "benchmarks.heads.py:make",
        "benchmarks.headsx:make",
    ):
        assert not HeadSpec("own", "", factory).is_built_in
