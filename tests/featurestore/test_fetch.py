"""Fetch, against a made-up Kaggle: what comes is checked and recorded, what doesn't is named."""

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from support import jpeg, movie, write_metadata

from featurestore.backbones import kaggle
from featurestore.collections.images import content_hash
from featurestore.collections.movies.fetch import PARTS, fetch
from featurestore.commands.cli import cli
from featurestore.errors import BackboneError, InputError


class FakeKaggle:
    """Stands for the module kagglehub; `refuse` holds the handles that raise, and what."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.refuse: dict[str, Exception] = {}
        collection = root / "collection"
        (collection / "Posters" / "Posters").mkdir(parents=True)
        write_metadata(collection / "MovieGenre.csv", [movie(img_id) for img_id in range(10)])
        for img_id in range(3):
            (collection / "Posters" / "Posters" / f"{img_id}.jpg").write_bytes(jpeg(img_id))
        (collection / "Posters" / "cover.jpg").write_bytes(jpeg(9))
        for model in ("inception-v3", "resnet-v2"):
            (root / model / "variables").mkdir(parents=True)
            (root / model / "saved_model.pb").write_bytes(b"graph")
            (root / model / "variables" / "variables.index").write_bytes(b"index")
            (root / model / "variables" / "variables.data-00000-of-00001").write_bytes(b"data")

    def dataset_download(self, handle: str) -> str:
        assert handle == "neha1703/movie-genre-from-its-poster"
        return self._folder(handle, "collection")

    def model_download(self, handle: str) -> str:
        return self._folder(handle, handle.split("/")[1])

    def _folder(self, handle: str, name: str) -> str:
        if name in self.refuse:
            raise self.refuse[name]
        return str(self.root / name)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKaggle:
    """Kaggle as it would answer."""
    fake = FakeKaggle(tmp_path / "kaggle")
    monkeypatch.setattr(kaggle, "_kagglehub", lambda: fake)
    return fake


def test_everything_comes(hub: FakeKaggle, tmp_path: Path) -> None:
    said: list[str] = []
    directory = tmp_path / "my data"
    report = fetch(directory, report=said.append)
    assert tuple(report.got) == PARTS
    assert not report.missing
    assert report.got["collection"].facts == {"metadata rows": 10, "posters": 3}
    assert report.differences == ["the metadata has 10 rows, expected 40,108", "there are 3 posters, expected 997"]
    assert report.next_commands[0] == (
        f"featurestore ingest --metadata '{directory}/collection/MovieGenre.csv' "
        f"--images '{directory}/collection/Posters/Posters'"
    )
    assert any(sentence.startswith("next: featurestore embed --backbone resnet_v2_50") for sentence in said)
    poster = (directory / "collection" / "Posters" / "Posters" / "2.jpg").read_bytes()
    lineage = json.loads((directory / "fetched.json").read_text())
    assert lineage["collection"]["files"]["Posters/Posters/2.jpg"] == content_hash(poster)
    assert lineage["inception_v3"]["files"]["saved_model.pb"] == content_hash(b"graph")


def test_what_cannot_be_had_is_named_and_the_rest_kept(hub: FakeKaggle, tmp_path: Path) -> None:
    fetch(tmp_path, what=["inception_v3"], report=lambda line: None)
    hub.refuse = {"inception-v3": ConnectionError("a\nlong story"), "collection": TimeoutError("slow")}
    report = fetch(tmp_path, report=lambda line: None)
    assert list(report.got) == ["resnet_v2_50"]
    assert "no connection to Kaggle" in report.missing["inception_v3"]
    assert "TimeoutError: slow" in report.missing["collection"]
    assert not any("\n" in sentence for sentence in report.missing.values())
    assert set(json.loads((tmp_path / "fetched.json").read_text())) == {"inception_v3", "resnet_v2_50"}


def test_the_command_exits_with_1_when_something_is_missing(hub: FakeKaggle, tmp_path: Path) -> None:
    assert CliRunner().invoke(cli, ["fetch", str(tmp_path / "all")]).exit_code == 0
    hub.refuse = {"resnet-v2": ConnectionError()}
    result = CliRunner().invoke(cli, ["fetch", str(tmp_path / "some")])
    assert result.exit_code == 1
    assert "the weights 'google/resnet-v2/tensorFlow2/50-feature-vector/2' can't be downloaded" in result.output


def test_what_came_damaged_is_named(hub: FakeKaggle, tmp_path: Path) -> None:
    (hub.root / "inception-v3" / "variables" / "variables.index").unlink()
    (hub.root / "resnet-v2" / "variables" / "variables.data-00000-of-00001").unlink()
    (hub.root / "collection" / "MovieGenre.csv").write_text("a,b\n1,2\n")
    report = fetch(tmp_path, report=lambda line: None)
    assert "lack variables/variables.index" in report.missing["inception_v3"]
    assert "lack variables/variables.data-*" in report.missing["resnet_v2_50"]
    assert "the column 'imdbId' is missing" in report.missing["collection"]
    (hub.root / "collection" / "MovieGenre.csv").unlink()
    assert "has no MovieGenre.csv" in fetch(tmp_path, what=["collection"]).missing["collection"]


def test_the_metadata_is_kept_without_posters(hub: FakeKaggle, tmp_path: Path) -> None:
    for path in (hub.root / "collection" / "Posters" / "Posters").iterdir():
        path.unlink()
    packed = gzip.compress((hub.root / "collection" / "MovieGenre.csv").read_bytes())
    (hub.root / "collection" / "MovieGenre.csv").unlink()
    (hub.root / "collection" / "MovieGenre.csv.gz").write_bytes(packed)
    report = fetch(tmp_path, what=["collection"])
    assert "has no posters" in report.missing["posters"]
    metadata = tmp_path / "collection" / "MovieGenre.csv.gz"
    assert metadata.read_bytes() == packed
    assert report.next_commands == [f"featurestore ingest --metadata {metadata} --images FOLDER_OF_POSTERS"]


def test_wrong_arguments(hub: FakeKaggle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got 'vgg' as what to fetch, expected some of collection"):
        fetch(tmp_path, what=["vgg"])
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="can't be used"):
        fetch(tmp_path / "file")
    (tmp_path / "fetched.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        fetch(tmp_path)


@pytest.mark.parametrize(
    ("status", "words"), [(403, "denies access with HTTP 403, log in"), (500, "answers with HTTP 500")]
)
def test_http_errors_are_told_apart(hub: FakeKaggle, status: int, words: str) -> None:
    import requests

    response = requests.Response()
    response.status_code = status
    hub.refuse = {"inception-v3": requests.HTTPError("a page of HTML", response=response)}
    with pytest.raises(BackboneError, match=words):
        kaggle.model("google/inception-v3/tensorFlow2/feature-vector/2")
