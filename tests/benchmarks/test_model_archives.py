"""The bytes of a stored head are checked before they are read: its card's checksum is of whoever wrote them."""

import hashlib
import io
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_values import answered, edits, text
from sklearn.linear_model import LogisticRegression
from stored_models import CARD, Members, edited

from benchmarks.heads.contract import example
from benchmarks.models import archive
from benchmarks.models import folder as models
from benchmarks.models.card import FIELDS
from benchmarks.models.predict import backbone_of
from featurestore.errors import InputError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    path = tmp_path_factory.mktemp("model") / "whole"
    models.save(LogisticRegression().fit(*example(90, 60)), CARD, path)
    return path


def array(shape: tuple[int, ...], content: bytes = b"", *, dtype: str = "<f8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + content


def first(content: bytes) -> Callable[[Members], object]:
    """Puts an array in the place of the first one."""
    return lambda members: members.update({min(name for name in members if name.endswith(".npy")): content})


HOSTILE: dict[str, tuple[Callable[[Members], object], str]] = {
    "a shape of a hundred thousand million": (first(array((10**11,))), "an array of it has the shape"),
    "a shape that overflows": (first(array((2**62, 4))), "an array of it has the shape"),
    "a negative shape": (first(array((-1, 8))), "an array of it has the shape"),
    "fewer bytes than it says": (first(array((9,), b"12345678")), "an array of it has the shape"),
    "Python objects": (first(array((1,), b"\x80\x04N.", dtype="|O")), "holds Python objects"),
    "no array": (first(b"no array"), "is no model that skops wrote"),
    "a version that there is not": (first(b"\x93NUMPY\x09\x00" + b" " * 99), "is no model that skops wrote"),
    "an array of zeros": (first(array((10**6,), bytes(8 * 10**6))), "grows from"),
    "a schema of spaces": (lambda members: members.update({"schema.json": b" " * 8_000_000}), "grows from"),
    "a member that nobody reads": (lambda members: members.update({"x": bytes(8_000_000)}), "grows from"),
    "a deep schema": (lambda members: members.update({"schema.json": b"[" * 10**6}), "is no model that skops wrote"),
    "no schema": (lambda members: members.pop("schema.json"), "is no model that skops wrote"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_what_an_archive_says_is_compared_with_its_bytes(
    how: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, sentence = HOSTILE[how]
    folder = edited(whole, tmp_path / "model", change)
    monkeypatch.setattr(archive, "FREE", 2**20)
    tracemalloc.start()
    with pytest.raises(InputError, match=sentence):
        models.load(folder)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4 * 2**20


def test_a_member_twice(whole: Path, tmp_path: Path) -> None:
    def twice(members: Members) -> None:
        members["../schema.json"] = members["schema.json"]

    folder = edited(whole, tmp_path / "model", twice)
    content = (folder / models.MODEL).read_bytes().replace(b"../schema.json", b"schema.json\0\0\0")
    card = json.loads((folder / models.CARD).read_text())
    card["sha256"] = {models.MODEL: hashlib.sha256(content).hexdigest()}
    (folder / models.MODEL).write_bytes(content)
    (folder / models.CARD).write_text(json.dumps(card))
    with pytest.raises(InputError, match="some twice"):
        models.load(folder)


def test_what_could_not_be_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "FREE", 0)
    model: Any = LogisticRegression().fit(*example(90, 60))
    model.zeros_ = np.zeros(2**20)
    with pytest.raises(InputError, match="can't be stored without pickle: it grows from"):
        models.save(model, CARD, tmp_path / "model")


def test_every_field_of_the_card(whole: Path, tmp_path: Path) -> None:
    """Those that are used; those that are only shown are text on a page."""
    card = json.loads((whole / models.CARD).read_text())
    used = {name: card[name] for name in ("format", *FIELDS)}
    used |= {"options": [{"tensor": "1"}], "preprocessing": [{"height": 8}]}
    folder, taken = tmp_path / "model", 0
    folder.mkdir()
    (folder / models.MODEL).write_bytes((whole / models.MODEL).read_bytes())
    for what, edited_card in edits(used):
        (folder / models.CARD).write_bytes(text(edited_card))
        found = answered(what, models.load, folder)
        if found is not None:
            taken += 1
            if what.startswith(("backbone", "revision", "weights", "options", "preprocessing")):
                assert answered(what, backbone_of, found) is None, "there is no such backbone"
            if what.startswith("embed_dim"):
                answered(what, found.predict_proba, np.zeros((1, 60), np.float32))
    assert 20 < taken < 400
