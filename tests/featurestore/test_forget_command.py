"""The command `forget`: ids from a file, one question; and what other commands say of a store that has forgotten."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from forgetting import GONE, NAMES
from torture.launch import in_process

import featurestore
from featurestore import FeatureStore
from featurestore.commands.cli import cli

pytestmark = pytest.mark.shell_file


def test_a_snapshot_says_when_it_was_changed(filled: FeatureStore) -> None:
    before = {info.name: info for info in filled.snapshots()}
    filled.create_snapshot("untouched")
    assert (filled.info()["forgotten_at"], filled.lineage(2)["forgotten_at"]) == (None, None)
    filled.forget(GONE)
    filled.create_snapshot("later")
    found = {info.name: info for info in filled.snapshots()}
    assert [name for name, info in found.items() if info.forgotten_at] == ["before", "after", "untouched"]
    assert {name: found[name].created_at for name in before} == {name: info.created_at for name, info in before.items()}
    assert filled.info()["forgotten_at"] == found["before"].forgotten_at.isoformat()
    assert featurestore.open(filled.path, snapshot="before").lineage(2)["forgotten_at"] is not None
    place = ["--store", str(filled.path)]
    assert "changed by `forget`" in in_process(["featurestore", "snapshot", "list", *place]).out
    for command in (["info"], ["lineage", "2"]):
        assert "images were removed for good" in in_process(["featurestore", *command, *place]).out


def test_ids_in_a_file_and_the_question(filled: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = ["--store", str(filled.path)]
    (tmp_path / "ids.txt").write_text("2\n3\n")
    dry = in_process(["featurestore", "forget", "--ids", str(tmp_path / "ids.txt"), "--dry-run", *place])
    assert dry.out.splitlines()[0] == "2 images to forget"
    assert ["images", "2", "rows"] in [line.split() for line in dry.out.splitlines()]
    asked = in_process(["featurestore", "forget", "3", *place])
    assert (asked.code, "add --yes" in asked.err) == (2, True)
    for wrong in ([], ["3", "--ids", "ids.txt"]):
        assert in_process(["featurestore", "forget", *wrong, "--yes", *place]).code == 2
    named = tmp_path / "names.csv"
    named.write_text(f"ImgName\n{NAMES[5]}\n")
    done = in_process(["featurestore", "forget", "--ids", str(named), "--yes", "--json", *place])
    assert json.loads(done.out)["ids"] == [5]
    assert filled.refresh().forget(tmp_path / "ids.txt").ids == [2, 3]


def test_one_question_is_asked(filled: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurestore.commands.forget.is_a_person", lambda: True)
    for answer, code, left, said in (("n\n", 1, 12, "nothing was forgotten"), ("y\n", 0, 11, "1 image forgotten")):
        result = CliRunner().invoke(cli, ["forget", "3", "--store", str(filled.path)], input=answer)
        assert result.output.count("remove all of this for good? [y/N]") == 1
        assert (result.exit_code, result.output.count(said)) == (code, 1)
        assert filled.refresh().info()["images"] == left
