"""Runs that a user's own script starts: worker processes don't run the script again, guarded or not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench_store import make_store

ROOT = Path(__file__).resolve().parents[2]
RUN = """
import json, sys
from pathlib import Path
import featurestore
from benchmarks.heads.registry import find, head
from benchmarks.plan.protocols import Protocol
from benchmarks.results.read import comparison, runs
from benchmarks.run.runner import run
from benchmarks.run.limits import Limits

print("the script runs", file=sys.stderr)

@head("own", random=False)
def own(*, seed):
    from sklearn.naive_bayes import GaussianNB
    return GaussianNB()

def main():
    store = featurestore.open(sys.argv[1])
    heads = find(["knn"]) + ([own.spec] if "own" in sys.argv else [])
    run(store, heads=heads, protocols=[Protocol("cv", folds=2)], backbones=["a"], limits=Limits(workers=2))
    rows = comparison(store.refresh(), runs(store)[0])
    print(json.dumps({row["head"]: [row["failed"], row["failure"]] for row in rows}))
"""
GUARDED, UNGUARDED = 'if __name__ == "__main__":\n    main()\n', "main()\n"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with two backbones."""
    return make_store(tmp_path).path


def run_script(text: str, *arguments: object, folder: Path, **env: str) -> tuple[dict[str, list[object]], str]:
    """What the script prints as JSON, and its stderr; ``env`` are variables of its environment."""
    path = folder / "script.py"
    path.write_text(text)
    command = [sys.executable, str(path), *map(str, arguments)]
    env = {"PYTHONPATH": str(ROOT), **env}
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300, cwd=folder, env=env)
    return json.loads(found.stdout), found.stderr


@pytest.mark.slow
def test_a_folder_for_temporary_files_may_have_a_long_path(store: Path, tmp_path: Path) -> None:
    """Longer than the path of a socket, as where a batch system makes a folder for each job."""
    folder = tmp_path / ("job-" * 30)
    folder.mkdir()
    rows, _ = run_script(RUN + UNGUARDED, store, folder=tmp_path, TMPDIR=str(folder))
    assert rows == {"knn": [0, None]}
    assert not list(folder.iterdir()), "workers remove their temporary files"


@pytest.mark.parametrize(
    "end", [pytest.param(GUARDED, marks=pytest.mark.slow), UNGUARDED], ids=["guarded", "not guarded"]
)
def test_workers_do_not_run_the_script_again(end: str, store: Path, tmp_path: Path) -> None:
    rows, err = run_script(RUN + end, store, folder=tmp_path)
    assert rows == {"knn": [0, None]}
    assert err.count("the script runs") == 1
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_head_in_a_guarded_script(store: Path, tmp_path: Path) -> None:
    rows, err = run_script(RUN + GUARDED, store, "own", folder=tmp_path)
    assert rows == {"knn": [0, None], "own": [0, None]}
    assert "Traceback" not in err


@pytest.mark.slow  # the same through `compare` is not
def test_a_head_in_a_script_that_is_not_guarded_says_what_to_do(store: Path, tmp_path: Path) -> None:
    rows, err = run_script(RUN + UNGUARDED, store, "own", folder=tmp_path)
    assert rows["knn"] == [0, None]
    failed, sentence = rows["own"]
    assert failed == 2
    assert "if __name__ == '__main__'" in str(sentence)
    assert "Traceback" not in err


COMPARES = """
import json, sys
import numpy as np
from benchmarks import compare, head

print("the script runs", file=sys.stderr)

@head("own", random=False)
def own(*, seed):
    from sklearn.naive_bayes import GaussianNB
    return GaussianNB()

def main():
    X = np.random.default_rng(0).normal(size=(60, 4))
    heads = ["knn"] + ([own] if "own" in sys.argv else [])
    found = compare(X, X[:, 0] > X[:, 1], heads=heads, folds=2, quick=True, workers=1)
    print(json.dumps({row["head"]: [row["failed"], row["failure"]] for row in found.table["rows"]}))
"""


@pytest.mark.slow  # the next one holds it too
def test_compare_in_a_script_that_is_not_guarded(tmp_path: Path) -> None:
    rows, err = run_script(COMPARES + UNGUARDED, folder=tmp_path)
    assert rows == {"knn": [0, None]}
    assert err.count("the script runs") == 1
    assert "Traceback" not in err


def test_compare_says_what_a_head_in_a_script_that_is_not_guarded_needs(tmp_path: Path) -> None:
    rows, err = run_script(COMPARES + UNGUARDED, "own", folder=tmp_path)
    assert rows["knn"] == [0, None]
    failed, sentence = rows["own"]
    assert failed == 2
    assert "if __name__ == '__main__'" in str(sentence)
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_head_of_a_session_without_a_file_works(tmp_path: Path) -> None:
    """As in a notebook: a worker could not import it."""
    text = COMPARES.replace("GaussianNB()", "GaussianNB(var_smoothing=SHARE)") + "\nSHARE = 0.1\n" + UNGUARDED
    command = [sys.executable, "-c", text, "own"]
    found = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=300, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}
    )
    assert json.loads(found.stdout) == {"knn": [0, None], "own": [0, None]}
    assert found.stderr.count("the script runs") == 1
