"""Backbones, weights, stored heads and bundles that are damaged, of another kind, or a pickle in disguise."""

import hashlib
import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from support import missing

from featurestore import FeatureStore
from featurestore.features.bundle import write_bundle
from torture.inputs import Kind, Refused, Work

BENCH = ("benchmarks", "run", "--head", "majority", "--folds", "2", "--quick")
TENSORFLOW = missing("tensorflow", "tensorflow_hub")
PICKLE = pickle.dumps({"classes_": [0, 1]})


def _embed(name: str, reference: str, make: Callable[[Path], object], sentence: str, *more: str) -> Kind:
    """`embed` with a model at ``reference``, which ``make`` puts below DIR."""

    def command(work: Work) -> list[str]:
        make(work.folder)
        filled = [part.replace("DIR", str(work.folder)) for part in (reference, *more)]
        return ["featurestore", "embed", "--backbone", *filled]

    return Kind("models", name, command, Refused(sentence))


def _folder(files: dict[str, bytes]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        (folder / "model").mkdir()
        for name, content in files.items():
            (folder / "model" / name).write_bytes(content)

    return make


def _saved(build: Callable[[Any], Any]) -> Callable[[Path], None]:
    """A SavedModel whose function ``build`` makes of TensorFlow."""

    def make(folder: Path) -> None:
        import os

        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        import tensorflow

        module = tensorflow.Module()
        module.__call__ = build(tensorflow)
        tensorflow.saved_model.save(module, str(folder / "model"))

    return make


def _images(tensorflow: Any, function: Callable[[Any], Any], *, kind: str = "float32") -> Any:
    signature = [tensorflow.TensorSpec([None, 224, 224, 3], getattr(tensorflow, kind))]
    return tensorflow.function(function, input_signature=signature)


def _backbones() -> list[Kind]:
    tflite, saved = "tflite:DIR/model/m.tflite", "savedmodel:DIR/model"
    no_model = "can't be loaded as TFLite"
    return [
        _embed("no TFLite file", tflite, lambda folder: None, "there is no file"),
        _embed("an empty TFLite file", tflite, _folder({"m.tflite": b""}), no_model),
        _embed("text named .tflite", tflite, _folder({"m.tflite": b"no model at all"}), no_model),
        _embed("a pickle named .tflite", tflite, _folder({"m.tflite": PICKLE}), no_model),
        _embed(
            "TFLite's first bytes and nothing else",
            tflite,
            _folder({"m.tflite": b"\x1c\0\0\0TFL3" + bytes(64)}),
            no_model,
        ),
        _embed("a folder named .tflite", "tflite:DIR/model", _folder({}), "there is no file"),
        _embed("no SavedModel", saved, lambda folder: None, "is not a SavedModel"),
        _embed("an empty SavedModel folder", saved, _folder({}), "is not a SavedModel"),
        _embed(
            "weights that are not there",
            "inception_v3",
            lambda folder: None,
            "is not a SavedModel",
            "--weights",
            "DIR/none",
        ),
        _embed("a path for one that takes none", "descriptors:DIR", lambda folder: None, "takes no path"),
        _embed("no path", "tflite:", lambda folder: None, "expected a path"),
    ]


def _saved_models() -> list[Kind]:
    """What TensorFlow has to look at."""
    saved = "savedmodel:DIR/model"
    kinds = [
        _embed("a SavedModel of no bytes", saved, _folder({"saved_model.pb": b""}), "can't be loaded|has no function"),
        _embed("a SavedModel that is a pickle", saved, _folder({"saved_model.pb": PICKLE}), "can't be loaded"),
        _embed(
            "a SavedModel of other numbers",
            saved,
            _saved(lambda tf: _images(tf, lambda x: tf.reduce_mean(x, [1, 2]), kind="int32")),
            "takes images of int32, expected",
        ),
        _embed(
            "a SavedModel that gives images",
            saved,
            _saved(lambda tf: _images(tf, lambda x: x)),
            "expected .224, 224, 3. images in and one float vector",
        ),
        _embed(
            "a SavedModel that gives classes",
            saved,
            _saved(lambda tf: _images(tf, lambda x: tf.argmax(tf.reduce_mean(x, [1, 2]), 1))),
            "one float vector",
        ),
        _embed(
            "a SavedModel of another length",
            "inception_v3",
            _saved(lambda tf: _images(tf, lambda x: tf.reduce_mean(x, [1, 2]))),
            "gives 3-d vectors, inception_v3 has 2048",
            "--weights",
            "DIR/model",
        ),
    ]
    return [replace(kind, needs=TENSORFLOW) for kind in kinds]


def _head(name: str, card: object, content: bytes | None, sentence: str) -> Kind:
    """`predict` with a model folder of that card and model."""

    def command(work: Work) -> list[str]:
        folder = work.folder / "model"
        folder.mkdir()
        record = card
        if isinstance(card, dict) and content is not None:
            record = {"sha256": {"model.skops": hashlib.sha256(content).hexdigest()}, **card}
        text = record if isinstance(record, bytes) else json.dumps(record).encode()
        (folder / "card.json").write_bytes(text)
        if content is not None:
            (folder / "model.skops").write_bytes(content)
        return ["benchmarks", "predict", str(folder), str(work.images / "101.jpg")]

    return Kind("models", name, command, Refused(sentence))


CARD = {
    "format": 1,
    "classes": ["a", "b"],
    "embed_dim": 16,
    "backbone": "descriptors",
    "revision": "r",
    "weights": [],
    "sources": [],
    "view": "labeled",
    "label": "Genre1",
    "synthetic": True,
}


def _heads() -> list[Kind]:
    import io
    import zipfile

    def archive(files: dict[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as found:
            for name, content in files.items():
                found.writestr(name, content)
        return buffer.getvalue()

    schema = json.dumps(
        {"__class__": "system", "__module__": "posix", "__loader__": "TypeNode", "protocol": 2}
    ).encode()
    no_folder, no_model = "is no model folder", "is no model that skops"
    return [
        Kind(
            "models",
            "no head",
            lambda work: ["benchmarks", "predict", str(work.folder / "none"), "x.jpg"],
            Refused(no_folder),
        ),
        _head("a head without its model", CARD, None, no_folder),
        _head("a head with a card that is no JSON", b"{", b"", no_folder),
        _head("a head with a card that is a list", [], b"", "no card of format 1"),
        _head("a head with a card of a later format", {**CARD, "format": 2}, b"", "no card of format 1"),
        _head("a head with a card without its fields", {"format": 1}, PICKLE, "has no valid .*classes"),
        _head(
            "a head with a card without checksums", {**CARD, "sha256": {}}, PICKLE, "is not the file that was written"
        ),
        _head(
            "a head of other bytes",
            {**CARD, "sha256": {"model.skops": "0" * 64}},
            PICKLE,
            "is not the file that was written",
        ),
        _head("a head that is a pickle", CARD, PICKLE, no_model),
        _head("a head that is empty", CARD, b"", no_model),
        _head("a head that is an archive of other things", CARD, archive({"a.txt": b"x"}), no_model),
        _head("a head with a schema that is no JSON", CARD, archive({"schema.json": b"{"}), no_model),
        _head(
            "a head that would run a command",
            CARD,
            archive({"schema.json": schema}),
            "holds the types|is no model that skops",
        ),
    ]


def weights(folder: Path, files: dict[str, bytes]) -> Path:
    """A folder of weights for fine-tuning."""
    _folder(files)(folder)
    return folder / "model"


# The bench makes a row of weights that can't be had, which takes a whole run: `weights.load` says the sentence.
_CONFIG = json.dumps({"model_type": "resnet"}).encode()
WEIGHTS: Sequence[tuple[str, dict[str, bytes], str]] = (
    ("without a configuration", {}, "no readable config.json"),
    ("with a configuration that is no JSON", {"config.json": b"{"}, "no readable config.json"),
    ("of another network", {"config.json": b'{"model_type": "bert"}'}, "describes a 'bert'"),
    ("without tensors", {"config.json": _CONFIG}, "holds no .safetensors"),
    ("that are a pickle", {"config.json": _CONFIG, "pytorch_model.bin": PICKLE}, "holds no .safetensors"),
    ("in safetensors that are a pickle", {"config.json": _CONFIG, "model.safetensors": PICKLE}, "can't be loaded"),
    (
        "in safetensors cut short",
        {"config.json": _CONFIG, "model.safetensors": bytes([9, *bytes(7)])},
        "can't be loaded",
    ),
    ("in safetensors of no bytes", {"config.json": _CONFIG, "model.safetensors": b""}, "can't be loaded"),
)

KINDS = [
    *_backbones(),
    *_saved_models(),
    *_heads(),
    Kind("models", "an unknown recipe", lambda work: [*BENCH, "--finetune", "resnet18"], Refused("resnet18")),
]


def bundle(folder: Path, store: Path) -> str:
    """A bundle of the backbone `counting`, and its lock."""
    with FeatureStore(store) as opened:
        return write_bundle(opened, opened.features("counting", label="Genre1"), folder, view="labeled")


# What is done to a bundle's file before it is opened, and what is then said; there is no command that opens one.
def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


BUNDLES: Sequence[tuple[str, str, Callable[[Path], object], str]] = (
    ("one bit flipped in the vectors", "features.parquet", _flip, "does not match its checksum"),
    ("one bit flipped in the rows", "rows.parquet", _flip, "does not match its checksum"),
    ("one bit flipped in the manifest", "manifest.json", _flip, "expected"),
    ("one bit flipped in the lock", "bundle.lock", _flip, "expected"),
    ("the vectors missing", "features.parquet", Path.unlink, "does not match its checksum"),
    ("the manifest missing", "manifest.json", Path.unlink, "there is no bundle"),
    ("the lock missing", "bundle.lock", Path.unlink, "there is no bundle"),
    ("the lock a folder", "bundle.lock", lambda path: (path.unlink(), path.mkdir()), "can't be read"),
)


def relocked(folder: Path, manifest: object) -> None:
    """Another manifest under a lock that fits it: whoever can write the files can do that."""
    content = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    (folder / "manifest.json").write_bytes(content)
    (folder / "bundle.lock").write_text("sha256:" + hashlib.sha256(content).hexdigest())


MANIFESTS: Sequence[tuple[str, object, str]] = (
    ("a list", [], "not a manifest"),
    ("no JSON", b"{", "not a manifest"),
    ("of a later format", {"format": 2}, "of format 2"),
    ("without its fields", {"format": 1}, "not a manifest|does not match its"),
)
