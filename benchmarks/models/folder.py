"""Fitted heads as folders that are read without pickle: a card, the model in skops' format, checksums."""

import hashlib
import importlib
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.heads import named_files
from benchmarks.heads.probabilities import class_codes, on_all_classes
from benchmarks.models.archive import check_archive
from benchmarks.models.card import FORMAT, check_card, describe
from benchmarks.models.trial import refuse_damaged
from featurestore._optional import import_extra
from featurestore.errors import InputError, IntegrityError, reason
from featurestore.files import atomic_folder, read_file, why

CARD, MODEL, README = "card.json", "model.skops", "README.md"
# Types outside scikit-learn, NumPy and SciPy that the built-in heads are made of; skops knows the others.
TRUSTED = frozenset(
    {
        "collections.OrderedDict",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.tree._tree.Tree",
    }
)
OWN_TYPES = "benchmarks.heads."
# Endings that promise one file, where a model is a folder of three.
FILES = (".csv", ".gz", ".html", ".json", ".md", ".npy", ".npz", ".parquet", ".tar", ".txt", ".zip")
FILES_OF_MODELS = (".joblib", ".onnx", ".pickle", ".pkl", ".pt", ".pth", ".safetensors", ".skops")
# Bytes of the largest card that is read: a hundred thousand classes fit.
LARGEST_CARD = 16 * 2**20
LARGEST_MODEL = 4 * 2**30


@dataclass(frozen=True)
class Model:
    """A fitted head and its card.

    Parameters
    ----------
    classifier
        With ``predict_proba``; its classes are places in the card's ``classes``.
    card
        What it was made of and what it scored; plain JSON.
    """

    classifier: Any
    card: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the columns of `predict_proba`."""
        return tuple(self.card["classes"])

    def predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Probabilities ``(n, n_classes)`` float32 of vectors ``(n, d)``.

        Raises
        ------
        InputError
            When the vectors have another length than those it learned from, or the classifier fails or answers with
            anything but probabilities.
        """
        X = np.asarray(X, np.float32)
        if X.ndim != 2 or X.shape[1] != self.card["embed_dim"]:
            raise InputError(f"got vectors of shape {X.shape}, expected (n, {self.card['embed_dim']})")
        try:
            answer = self.classifier.predict_proba(X)
            proba = on_all_classes(self.classifier, answer, n_rows=len(X), n_classes=len(self.classes))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whoever wrote the model chose its parts
            raise InputError(f"the model can't be used ({reason(error)[:200]}): get the model folder again") from error
        return proba.astype(np.float32)


def packed(classifier: Any) -> bytes:
    """A fitted classifier as bytes that can be read without pickle, whatever its types.

    Raises
    ------
    InputError
        When it holds something that can't be stored so.
    """
    skops = import_extra("skops.io", "bench", needed_by="storing a model")
    try:
        content = bytes(skops.dumps(classifier, compression=zipfile.ZIP_DEFLATED))
        check_archive(content)  # what is written can be read
        return content
    except Exception as error:  # an own head holds anything
        raise InputError(f"a {type(classifier).__name__} can't be stored without pickle: {reason(error)}") from error


def _refuse_foreign(content: bytes, trust: Sequence[str]) -> None:
    foreign = _foreign(content, trust)
    if foreign:
        raise InputError(f"the model holds the types {', '.join(foreign)}: name those you trust with --trust")


def saved_bytes(classifier: Any) -> int:
    """The size of a fitted classifier as `save` writes it.

    Raises
    ------
    InputError
        As `save`.
    """
    content = packed(classifier)
    _refuse_foreign(content, ())
    return len(content)


def save(classifier: Any, card: dict[str, Any], path: Path, *, trust: Sequence[str] = ()) -> None:
    """Write the folder of a fitted classifier, as `write`.

    Raises
    ------
    InputError
        As `write`, or when the classifier can't be stored.
    """
    write(packed(classifier), card, path, trust=trust)


def refuse_place(path: Path) -> None:
    """Refuse to write a model to ``path``; asked before the fit, which may take long.

    Raises
    ------
    InputError
        When ``path`` is something else than a model folder, or its ending is that of a file.
    """
    if path.name.lower().endswith(FILES + FILES_OF_MODELS):
        raise InputError(f"got {str(path)!r}, expected the name of a folder, such as genre.model: a model is a folder")
    if path.exists() and not (path / CARD).is_file():
        raise InputError(f"{str(path)!r} exists and is no model folder: name another place with -o")


def write(model: bytes, card: dict[str, Any], path: Path, *, trust: Sequence[str] = ()) -> None:
    """Write the folder of a model that is `packed`, whole or not at all; one that is there is replaced.

    Raises
    ------
    InputError
        As `refuse_place`, or when ``path`` can't be written or the model holds a type that is not trusted.
    """
    refuse_place(path)
    try:
        check_archive(model)
        _refuse_foreign(model, trust)
    except InputError:
        raise
    except Exception as error:  # code of a head made the bytes
        raise InputError(f"the model is not as skops writes it ({reason(error)[:120]}): fit it again") from error
    full = {**card, "format": FORMAT, "trusted": sorted(trust), "sha256": {MODEL: hashlib.sha256(model).hexdigest()}}
    try:
        with atomic_folder(path) as building:
            (building / MODEL).write_bytes(model)
            (building / README).write_text(describe(full), "utf-8")
            (building / CARD).write_text(json.dumps(full, indent=1) + "\n", "utf-8")
    except OSError as error:
        raise InputError(f"the model can't be written to {str(path)!r}: {error.strerror}") from error


def load(path: str | Path, *, trust: Sequence[str] = ()) -> Model:
    """Read a model folder; nothing is unpickled.

    Parameters
    ----------
    trust
        Types besides the built-in heads' own that may be made, and files of weights that the model may name.

    Raises
    ------
    InputError
        When there is no model folder, or it holds types that are not trusted.
    IntegrityError
        When a file's bytes are not those that were written.
    """
    folder = Path(path)
    card, content = _read(folder)
    check_card(folder / CARD, card)
    if hashlib.sha256(content).hexdigest() != card["sha256"].get(MODEL):
        raise IntegrityError(f"{str(folder / MODEL)!r} is not the file that was written: get the model folder again")
    skops = import_extra("skops.io", "bench", needed_by="reading a model")
    try:
        schema = check_archive(content)
        foreign = _foreign(content, trust)
        if not foreign:
            refuse_damaged(content, schema, width=card["embed_dim"], trust=trust)
        with named_files.only(trust):
            classifier: Any = None if foreign else skops.loads(content, trusted=skops.get_untrusted_types(data=content))
    except InputError as error:
        raise InputError(f"{str(folder / MODEL)!r} can't be used: {error}") from error
    except Exception as error:  # whoever wrote the file wrote its checksum: it may be anything
        raise InputError(
            f"{str(folder / MODEL)!r} is no model that skops wrote ({reason(error)[:120]}): get the model folder again"
        ) from error
    if foreign:
        raise InputError(f"{str(folder)!r} holds the types {', '.join(foreign)}: name those you trust with --trust")
    try:
        class_codes(classifier, len(card["classes"]))
    except Exception as error:  # any part may be anything
        raise InputError(
            f"{str(folder / CARD)!r} names {len(card['classes'])} classes, which are not those of the model "
            f"({reason(error)[:200]}): get the model folder again"
        ) from error
    return Model(classifier, card)


def _read(folder: Path) -> tuple[Any, bytes]:
    """What a model folder holds, unchecked; only regular files, since a pipe or a device has no end."""
    try:
        card = json.loads(read_file(folder / CARD, limit=LARGEST_CARD))
        return card, read_file(folder / MODEL, limit=LARGEST_MODEL)
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(
            f"{str(folder)!r} is no model folder (expected {CARD} and {MODEL}): {why(error)[:200]}"
        ) from error


def _foreign(content: bytes, trust: Sequence[str]) -> list[str]:
    skops = import_extra("skops.io", "bench", needed_by="models")
    known = TRUSTED | set(trust)
    return [name for name in skops.get_untrusted_types(data=content) if name not in known and not _is_own_head(name)]


def _is_own_head(name: str) -> bool:
    """Whether ``name`` is an estimator of a head module: a function there, such as one that runs a file, is not."""
    if not name.startswith(OWN_TYPES):
        return False
    from sklearn.base import BaseEstimator

    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type) and issubclass(found, BaseEstimator) and found.__module__ == module
