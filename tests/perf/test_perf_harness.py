"""The harness itself: it runs, says what can't run, keeps and compares results. No time is asserted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).resolve().parent / "run.py"


def run(*arguments: str | Path) -> str:
    """What the command prints; its worker processes get the same warnings as any other command."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    done = subprocess.run(
        [sys.executable, str(RUN), *map(str, arguments)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The table and the JSON of one quick run without rivals."""
    out = tmp_path_factory.mktemp("perf")
    printed = run("--quick", "--no-rivals", "--repeats", "1", "--out", out, "--only", "pairs", "--only", "start")
    (kept,) = out.glob("*.json")
    return printed, kept


def test_every_row_is_printed_and_kept(quick: tuple[str, Path]) -> None:
    printed, kept = quick
    record = json.loads(kept.read_text("utf-8"))
    assert [row["work"] for row in record["rows"] if row["job"] == "start"] == [
        "import featurestore",
        "featurestore --help",
        "benchmarks --help",
    ]
    for row in record["rows"]:
        assert f"{row['job']}: {row['work']}" in printed
    assert {"at", "commit", "machine", "load", "versions"} <= set(record["about"])


def test_each_measured_row_has_seconds_a_ratio_and_a_verdict(quick: tuple[str, Path]) -> None:
    measured = [row for row in json.loads(quick[1].read_text("utf-8"))["rows"] if row["ratio"] is not None]
    assert measured
    for row in measured:
        assert min(row["ours"] + row["theirs"]) > 0
        assert row["verdict"] == ("hit" if row["ratio"][1] <= row["goal"]["most"] else "MISS")


def test_a_rival_that_is_not_installed_is_a_row_that_says_so(quick: tuple[str, Path]) -> None:
    (row,) = [row for row in json.loads(quick[1].read_text("utf-8"))["rows"] if row["other"] == "faiss range search"]
    assert row["ratio"] is None
    assert row["verdict"] == ""
    assert "not installed" in row["note"]
    assert "not run" in quick[0]


def test_two_results_can_be_compared(quick: tuple[str, Path], tmp_path: Path) -> None:
    before = json.loads(quick[1].read_text("utf-8"))
    for row in before["rows"]:
        row["ours"] = [2 * value for value in row["ours"]]
    other = tmp_path / "before.json"
    other.write_text(json.dumps(before), "utf-8")
    lines = [line for line in run("--compare", other, quick[1]).splitlines() if line.startswith("start:")]
    assert len(lines) == 3
    assert all("0.50 ×" in line for line in lines)


def test_what_is_printed_is_what_was_measured(quick: tuple[str, Path]) -> None:
    rows = json.loads(quick[1].read_text("utf-8"))["rows"]
    hits = sum(row["verdict"] == "hit" for row in rows)
    misses = sum(row["verdict"] == "MISS" for row in rows)
    assert f"{hits} goals hit, {misses} missed" in quick[0]
