"""What some Python has no wheels for: the markers, the pins and the sentences agree."""

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from resolve import PROJECT, PYTHONS, ROOT, wanted
from support import missing

from featurestore._optional import LAST_PYTHON, import_extra
from featurestore.backbones import kaggle
from featurestore.backbones.registry import load
from featurestore.errors import MissingExtra
from featurestore.features.features import Features

EXTRAS = PROJECT["optional-dependencies"]
# Where the package of a module has another name.
PACKAGES = {
    "PIL": "pillow",
    "google": "onnx",  # protobuf, which it needs
    "keras": "tensorflow",
    "huggingface_hub": "huggingface-hub",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
}
# What this project is meant to be built on, all of it there after `make`.
STACK = """
    numpy pillow pandas pyarrow duckdb tensorflow tensorflow-hub scikit-learn xgboost lightgbm torch
    transformers openvino ai-edge-litert
"""
PINS = [
    Requirement(line.partition("#")[0])
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    if line.partition("#")[0].strip()
]


def holds(need: Requirement, python: str) -> bool:
    """Whether the requirement is one on this Python."""
    return need.marker is None or need.marker.evaluate({"python_version": python, "python_full_version": f"{python}.0"})


def needs(python: str) -> dict[str, Requirement]:
    """What all extras together ask for on this Python, by name."""
    every = [*map(Requirement, PROJECT["dependencies"]), *wanted(*EXTRAS)]
    return {canonicalize_name(need.name): need for need in every if holds(need, python)}


def test_the_pythons_that_are_named_begin_with_the_oldest_allowed() -> None:
    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    assert len(PYTHONS) >= 4


@pytest.mark.parametrize("python", PYTHONS)
def test_the_sentences_know_what_the_markers_leave_out(python: str) -> None:
    everything = set().union(*(needs(other) for other in PYTHONS))
    version = tuple(map(int, python.split(".")))
    without = {canonicalize_name(name) for name, last in LAST_PYTHON.items() if version > last}
    assert everything - set(needs(python)) == without


@pytest.mark.parametrize("python", PYTHONS)
def test_all_that_is_asked_for_is_pinned_once(python: str) -> None:
    pins = [pin for pin in PINS if holds(pin, python)]
    pinned = {canonicalize_name(pin.name): pin for pin in pins}
    assert len(pinned) == len(pins), "two pins of one package hold on one Python"
    for name, need in needs(python).items():
        (version,) = (clause.version for clause in pinned[name].specifier)
        assert version in need.specifier, f"{need} and {pinned[name]}"


def brought(*extras: str) -> set[str]:
    """The names of the packages of these extras and of the core."""
    core = map(Requirement, PROJECT["dependencies"])
    return {canonicalize_name(need.name) for need in (*core, *wanted(*extras))}


def test_all_is_every_extra_that_users_need() -> None:
    assert brought("all") == brought(*(set(EXTRAS) - {"all", "dev", "cluster", "heic"}))
    assert set(STACK.split()) <= brought("all")
    assert "--editable '.[all,dev]'" in (ROOT / "Makefile").read_text("utf-8")


def test_an_engine_brings_no_other_engine() -> None:
    engines = {"embed": "ai-edge-litert", "onnx": "openvino", "tensorflow": "tensorflow", "torch": "torch"}
    for extra, engine in engines.items():
        assert set(engines.values()) & brought(extra) == {engine}
        assert {"pillow", "platformdirs"} <= brought(extra), "each reads images, and remembers where weights were"
    assert not {*engines.values(), "pillow", "platformdirs", "pandas"} & brought()


def test_each_sentence_names_an_extra_that_brings_the_package() -> None:
    asked = set()
    for path in (path for package in ("featurestore", "benchmarks") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "import_extra":
                module, extra = (one.value if isinstance(one, ast.Constant) else None for one in node.args)
                asked |= {(module, extra)} if module else set()
    assert {("PIL.Image", "embed"), ("tensorflow", "tensorflow"), ("torch", "torch")} <= asked
    tops = [(module.partition(".")[0], extra) for module, extra in asked]
    names = [(canonicalize_name(PACKAGES.get(top, top)), extra) for top, extra in tops]
    assert [(name, extra) for name, extra in names if name not in brought(extra)] == []


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No TensorFlow can be imported, and no weights be downloaded."""
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> object:
        if name.partition(".")[0] in LAST_PYTHON:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, package)

    def download(handle: str) -> Path:
        raise AssertionError(f"{handle} was downloaded for nothing")

    monkeypatch.setattr(importlib, "import_module", absent)
    monkeypatch.setattr(kaggle, "model", download)


@pytest.mark.parametrize("package", LAST_PYTHON)
@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        ((3, 11, 0), r"not installed: pip install 'featurestore\[tensorflow\]'$"),
        ((3, 13, 9), r"not installed: pip install 'featurestore\[tensorflow\]'$"),
        ((3, 14, 0), r"has no wheels for Python 3\.14: use Python 3\.11 to 3\.13, or another way$"),
        ((3, 15, 2), r"has no wheels for Python 3\.15: use Python 3\.11 to 3\.13, or another way$"),
    ],
)
def test_what_to_do_depends_on_the_python(
    bare: None, monkeypatch: pytest.MonkeyPatch, package: str, version: tuple[int, ...], remedy: str
) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    with pytest.raises(MissingExtra, match=f"^it needs the package '{package}', which (is )?{remedy}"):
        import_extra(package, "tensorflow", needed_by="it", instead="another way")


@pytest.mark.parametrize("backbone", ["inception_v3", "resnet_v2_50", "savedmodel:MODEL"])
def test_a_savedmodel_is_refused_before_anything_is_downloaded(
    bare: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backbone: str
) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"")
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    with pytest.raises(MissingExtra) as caught:
        load(backbone.replace("MODEL", str(tmp_path)))
    assert re.fullmatch(
        r"a SavedModel backbone needs the package 'tensorflow', which has no wheels for Python 3\.14: "
        r"use Python 3\.11 to 3\.13, or .*descriptors.*tflite:FILE.*import-embeddings`",
        str(caught.value),
    )


def test_to_tf_names_what_works(bare: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    with pytest.raises(MissingExtra, match=r"^to_tf needs .*'tensorflow', .* Python 3\.14: .*, or to_torch"):
        Features.to_tf(object.__new__(Features))


def test_a_skip_names_what_is_missing() -> None:
    assert missing("numpy", "pytest") == ""
    assert re.fullmatch(
        r"not installed for Python 3\.[\d.]+: no_such_one, nor_this", missing("no_such_one", "numpy", "nor_this")
    )
