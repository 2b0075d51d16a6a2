"""Search by text: the vectors of a text tower are compared with those of images by cosine."""

import json
from pathlib import Path

import made_text_backbone
import numpy as np
import pytest
from made_text_backbone import COLOURS, ColourBackbone
from PIL import Image
from support import CountingBackbone

import featurestore
from featurestore import FeatureStore, backbone_of, embed_texts
from featurestore.backbones.base import TextScale
from featurestore.backbones.records import RECORDS, BackboneRecord
from featurestore.backbones.texts import LONGEST_TEXT, has_text_tower
from featurestore.commands.cli import cli
from featurestore.commands.options import run_command
from featurestore.errors import BackboneError, InputError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Nine images, three of each colour, with vectors of a backbone with a text tower and of one without."""
    folder = tmp_path_factory.mktemp("texts")
    for name, colour in COLOURS.items():
        (folder / "images" / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.outer(np.linspace(1, 0.5, 144), colour).reshape(12, 12, 3) * 255 / (1 + number)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / name / f"{number}.png")
    store = FeatureStore(folder / "store")
    store.ingest(images=folder / "images")
    store.embed(ColourBackbone())
    store.embed(CountingBackbone())
    return store


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> ColourBackbone:
    """The backbone that the name `colour` loads, as an installed plugin's would be."""
    monkeypatch.setitem(RECORDS, "colour", BackboneRecord("colour", "made_text_backbone:load", "mean colours"))
    monkeypatch.setattr(made_text_backbone, "LOADED", loaded := ColourBackbone())
    return loaded


def labels(store: FeatureStore, ids: np.ndarray) -> list[str]:
    known = store.query("SELECT ImgId, label FROM collection").to_pylist()
    return [{row["ImgId"]: row["label"] for row in known}[img_id] for img_id in ids.tolist()]


def test_a_text_finds_what_it_names(store: FeatureStore) -> None:
    model = ColourBackbone()
    found = store.similar(text="a red car at night", backbone="colour", model=model, k=3)
    assert labels(store, found.ids[0]) == ["red"] * 3
    assert found.texts == ("a red car at night",)
    assert found.queries == (None,)
    several = store.similar(text=["green grass", "red and blue"], backbone="colour", model=model, k=3)
    assert labels(store, several.ids[0]) == ["green"] * 3
    assert set(labels(store, several.ids[1])) <= {"red", "blue"}
    assert model.asked == ["a red car at night", "green grass", "red and blue"]


def test_scores_are_cosines(store: FeatureStore) -> None:
    features = store.features("colour", view="collection")
    text = np.array(COLOURS["red"], np.float64)
    found = store.similar(text="red", backbone="colour", model=ColourBackbone(), k=9)
    expected = features.X @ text / np.linalg.norm(features.X.astype(np.float64), axis=1)
    by_id = dict(zip(features.ids.tolist(), expected.tolist(), strict=True))
    np.testing.assert_allclose(found.scores[0], [by_id[img_id] for img_id in found.ids[0].tolist()], rtol=1e-6)
    by_vector = store.similar(text.astype(np.float32), backbone="colour", k=9)
    assert (found.ids == by_vector.ids).all()
    blue = store.similar(text="red", backbone="colour", model=ColourBackbone(), k=2, where="label = 'blue'")
    assert labels(store, blue.ids[0]) == ["blue"] * 2


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"backbone": "counting", "model": CountingBackbone()}, "'counting' has no text tower"),
        ({"text": " "}, "got ' ' as a text"),
        ({"text": ["red", ""]}, "got '' as a text"),
        ({"text": []}, "got no text"),
        ({"text": "red " * LONGEST_TEXT}, "got a text of 40,000 characters"),
        ({"metric": "euclidean"}, "compared by cosine"),
        ({"query": 1}, "got both a query and text="),
        ({"text": None}, "got nothing to search by"),
        ({"model": ColourBackbone(weights="colour-2")}, "distances between them are meaningless"),
        ({"backbone": "none"}, "none"),
    ],
)
def test_what_can_not_be_searched_is_one_sentence(store: FeatureStore, asked: dict[str, object], said: str) -> None:
    given = {"text": "red", "backbone": "colour", "model": ColourBackbone()} | asked
    with pytest.raises(InputError, match=said) as raised:
        store.similar(**given)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)


def test_a_text_that_is_cut_is_told(store: FeatureStore) -> None:
    with pytest.warns(UserWarning, match="the rest is left out"):
        store.similar(text="a very long text " * 4, backbone="colour", model=ColourBackbone())


class _Odd(ColourBackbone):
    """A text tower with a fault."""

    def embed_text(self, texts):  # type: ignore[no-untyped-def]
        return {"raises": lambda: 1 / 0, "zero": lambda: np.zeros((1, 3)), "shape": lambda: np.ones((2, 3))}[texts[0]]()


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("raises", BackboneError, "the text tower of 'colour' failed with ZeroDivisionError"),
        ("zero", InputError, "the vector of the text 'zero' is zero, NaN or infinite"),
        ("shape", BackboneError, r"returned \(2, 3\) float64, expected \(1, 3\)"),
    ],
)
def test_a_faulty_text_tower_is_told(text: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        embed_texts(_Odd(), [text])


def test_the_public_function() -> None:
    found = embed_texts(ColourBackbone(), ["red", "a blue sky"])
    assert found.dtype == np.float32
    assert found.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert embed_texts(ColourBackbone(), []).shape == (0, 3)
    with pytest.raises(InputError, match="got one text, expected a list"):
        embed_texts(ColourBackbone(), "red")
    assert has_text_tower(ColourBackbone())
    assert not has_text_tower(CountingBackbone())
    assert featurestore.TextScale is TextScale


def test_the_backbone_of_a_store_is_the_one_that_computed_it(store: FeatureStore, known: ColourBackbone) -> None:
    assert backbone_of(store, "colour") is known
    with pytest.raises(InputError, match="the store has no backbone 'none'"):
        backbone_of(store, "none")
    known.weights = "colour-2"
    with pytest.raises(InputError, match="not remembered on this machine and can't be loaded by its name"):
        backbone_of(store, "colour")


def test_the_command(
    store: FeatureStore,
    known: ColourBackbone,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*arguments: str) -> int:
        monkeypatch.setattr("sys.argv", ["featurestore", *asked, *arguments])
        return run_command(cli, "featurestore")

    asked = ["similar", "--store", str(store.path), "--backbone", "colour", "-k", "2"]
    page = tmp_path / "sheet.html"
    texts = ["--text", "red <b>&", "--text", "a\x1b blue"]
    assert run(*texts, "--html", str(page)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-2] for line in lines[1:5]] == ["red", "red", "blue", "blue"]
    assert lines[0].startswith("SYNTHETIC images or weights")
    assert not any("\x1b" in line for line in lines), "what a terminal would obey is shown, not sent"
    html = page.read_text("utf-8")
    assert "red &lt;b&gt;&amp;" in html
    assert "<b>" not in html
    assert "SYNTHETIC" in html
    assert run("--text", "green", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["query"] for row in rows] == ["green", "green"]
    assert {row["label"] for row in rows} == {"green"}
    assert run("--text", "green", "--id", "1") == 2
    assert "name either --id, --image, --vector or --text" in capsys.readouterr().err
