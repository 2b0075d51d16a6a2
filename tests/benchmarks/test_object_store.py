"""A bench whose store is on an object store has the scores of one in a folder."""

from pathlib import Path

import pytest
from bench_store import in_this_process, make_store
from s3_server import s3_server
from support import needs

from benchmarks.commands.cli import cli
from featurestore import FeatureStore
from featurestore.commands.options import run_command

needs("moto", "obstore")
SCORES = "SELECT cell, metric, score FROM bench_scores WHERE metric NOT IN ('fit_seconds', 'predict_ms') ORDER BY ALL"


def test_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("FEATURESTORE_CACHE", str(tmp_path / "cache"))
    for user in ("execution", "fit"):
        monkeypatch.setattr(f"benchmarks.run.{user}.computed", in_this_process)
    here = make_store(tmp_path)
    with s3_server() as server:
        away = FeatureStore(server.address("bench"))
        away.ingest(images=tmp_path / "posters", metadata=tmp_path / "m.csv")
        for seed, name in enumerate("ab", 1):
            away.import_embeddings(tmp_path / f"{name}{seed}.parquet", backbone=name)
        for store in (here, away):
            command = [
                "run",
                "--store",
                store.location,
                "--protocol",
                "study",
                "--head",
                "logistic_regression",
                "--quick",
            ]
            monkeypatch.setattr("sys.argv", ["benchmarks", *command])
            assert run_command(cli, "benchmarks") == 0
            assert f"store {store.location}, report {store.path}" in capsys.readouterr().out
        assert len(away.refresh().sql(SCORES)) > 2
        assert away.sql(SCORES).equals(here.refresh().sql(SCORES))
