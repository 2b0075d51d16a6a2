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


def run_script(text: str, *arguments: object, folder: Path) -> tuple[dict[str, list[object]], str]:
    """What the script prints as JSON, and its stderr."""
    path = folder / "script.py"
    path.write_text(text)
    command = [sys.executable, str(path), *map(str, arguments)]
    found = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=300, cwd=folder, env={"PYTHONPATH": str(ROOT)}
    )
    return json.loads(found.stdout), found.stderr


@pytest.mark.parametrize("end", [GUARDED, UNGUARDED], ids=["guarded", "not guarded"])
def test_workers_do_not_run_the_script_again(end: str, store: Path, tmp_path: Path) -> None:
    rows, err = run_script(RUN + end, store, folder=tmp_path)
    assert rows == {"knn": [0, None]}
    assert err.count("the script runs") == 1
    assert "Traceback" not in err


def test_a_head_in_a_guarded_script(store: Path, tmp_path: Path) -> None:
    rows, err = run_script(RUN + GUARDED, store, "own", folder=tmp_path)
    assert rows == {"knn": [0, None], "own": [0, None]}
    assert "Traceback" not in err


def test_a_head_in_a_script_that_is_not_guarded_says_what_to_do(store: Path, tmp_path: Path) -> None:
    rows, err = run_script(RUN + UNGUARDED, store, "own", folder=tmp_path)
    assert rows["knn"] == [0, None]
    failed, sentence = rows["own"]
    assert failed == 2
    assert "if __name__ == '__main__'" in str(sentence)
    assert "Traceback" not in err
