"""Finds the backbone that computed a stored revision again; it reads no store, and takes no path from one."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from featurestore.backbones.base import Backbone
from featurestore.backbones.preprocessing import Preprocessing, changed
from featurestore.backbones.records import by_name, find
from featurestore.backbones.registry import load
from featurestore.backbones.remembered import RememberedBackbone, recall, size_of
from featurestore.errors import BackboneError, InputError
from featurestore.files import content_hash, why

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StoredRevision:
    """What a store, or the card of a model, says of the backbone that computed its vectors; it may be a stranger's.

    Parameters
    ----------
    name
        The name in the store.
    weights, options
        As in `BackboneSpec`.
    preprocessing
        The fields of `Preprocessing.identity`; empty when unknown.
    """

    name: str
    revision: str
    weights: str | None
    options: Mapping[str, object] = field(default_factory=dict)
    preprocessing: Mapping[str, object] = field(default_factory=dict)


def find_backbone(
    stored: StoredRevision,
    *,
    model: str | None = None,
    weights: str | Path | None = None,
    tensor: str | int | None = None,
) -> Backbone:
    """Load the backbone of a stored revision, and check that it is the same.

    Without arguments it is loaded from where `FeatureStore.embed` last loaded it on this machine, with the options used
    then, and the file is logged; or by its name, if it is a known one. Its files are compared with the person's own
    record before they are loaded: what ``stored`` says may be a stranger's.

    Parameters
    ----------
    model, weights, tensor
        As for `load_backbone`. Other options are those of the stored revision, so that a file is enough.

    Raises
    ------
    BackboneError
        When the backbone that the arguments name can't be loaded, or has other weights.
    InputError
        When it is not found without arguments, its file is gone or changed, or it gives another revision.
    """
    if model is None and weights is None and tensor is None:
        try:
            place = recall(stored.revision)
        except InputError as error:
            log.warning("%s", error)
            place = None
        if place is not None:
            return _again(stored, place)
        try:
            return _checked(_named(stored, None, None, None), stored)
        except BackboneError as error:
            raise InputError(
                f"the backbone {stored.name!r} of revision {stored.revision} is not remembered on this machine and "
                f"can't be loaded by its name ({error}): name it with --model (model=)"
            ) from error
    return _checked(_named(stored, model, weights, tensor), stored)


def _named(stored: StoredRevision, model: str | None, weights: str | Path | None, tensor: str | int | None) -> Backbone:
    """The backbone of that reference; else that of the stored name, which can't be a path."""
    reference = stored.name if model is None else model
    takes = find(by_name(reference) if model is None else reference.partition(":")[0], reference).takes
    how = changed(Preprocessing(), stored.preprocessing) if stored.preprocessing and "preprocessing" in takes else None
    options = {name: value for name, value in stored.options.items() if isinstance(value, str) and name in takes}
    if tensor is None and "tensor" in options:
        tensor = int(options["tensor"]) if options["tensor"].isdecimal() else options["tensor"]
    return load(
        reference,
        trusted=model is not None,
        weights=weights,
        tensor=tensor,
        pooling=options.get("pooling"),
        precision=options.get("precision"),
        preprocessing=how,
        expected_weights=stored.weights,
    )


def _again(stored: StoredRevision, found: RememberedBackbone) -> Backbone:
    """The remembered backbone; its file must be there and unchanged."""
    place = found.place
    scheme = found.reference.partition(":")[0]
    option = f"--model {scheme} --weights DIR" if found.weights else f"--model {scheme}:PATH"
    option = "--backbone-file FILE.py" if scheme == "python" else option
    what = f"the backbone {stored.name!r} of revision {stored.revision} was loaded from {str(place)!r}, which"
    if place is not None and not os.path.exists(place):  # False for what can't be a path
        raise InputError(f"{what} is gone: name its new place with {option}")
    if stored.weights not in (None, found.weights_hash):
        raise InputError(
            f"the vectors of {stored.name!r} are said to be of the weights {str(stored.weights)[:80]}, and revision "
            f"{stored.revision} has the weights {found.weights_hash[:80]} on this machine: name what computed them "
            f"with {option}"
        )
    if place is not None:
        _check_unchanged(place, found, what, option)
    try:
        backbone = load(
            found.reference,
            name=found.name,
            weights=found.weights,
            tensor=found.tensor,
            pooling=found.pooling,
            precision=found.precision,
            preprocessing=found.preprocessing,
            synthetic=found.synthetic,
            expected_weights=found.weights_hash,
        )
    except BackboneError as error:
        if place is None:
            raise InputError(
                f"the backbone {stored.name!r} of revision {stored.revision} can't be loaded as it was ({error}): name "
                "it with --model (model=)"
            ) from error
        raise InputError(f"{what} can't be used any more ({error}): name the one that it was with {option}") from error
    _checked(backbone, stored)
    if place is not None:
        log.info("the backbone %r is loaded from %s", stored.name, place)
    return backbone


def _check_unchanged(place: Path, found: RememberedBackbone, what: str, option: str) -> None:
    """Compare the files with those that were remembered; entries of early versions have their size alone."""
    try:
        bytes_differ = found.files_hash is not None and found.files_hash != content_hash(place)
    except OSError as error:
        raise InputError(f"{what} can't be read ({why(error)}): name it with {option}") from error
    if bytes_differ or found.size not in (None, size_of(place)):
        raise InputError(f"{what} has changed (its bytes): name the file that it was with {option}")


def _checked(backbone: Backbone, stored: StoredRevision) -> Backbone:
    if backbone.spec.revision != stored.revision:
        raise InputError(
            f"the vectors of {stored.name!r} are of revision {stored.revision}, the backbone is of "
            f"{backbone.spec.revision}, so distances between them are meaningless: name the model, weights and tensor "
            "that computed them"
        )
    return backbone
