"""What `compare` is given, checked: heads as names or objects, a protocol, whole numbers within their bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.api.portable import importable, is_importable
from benchmarks.heads.base import HeadSpec
from benchmarks.heads.registry import find
from benchmarks.plan.given import COLUMN
from benchmarks.plan.groups import Grouping
from benchmarks.plan.prompts import Prompting, templates_of
from benchmarks.plan.protocols import DEFAULT_REPEATS, PROTOCOLS, Protocol
from benchmarks.run.limits import Limits
from featurestore import Backbone, FeatureStore
from featurestore.errors import InputError, alike

LARGEST_SEED = 2**31 - 1
GROUPS = ("exact", "near")


def store_of(store: Any) -> FeatureStore:
    """A reader of its own of the newest state of ``store``, a path or an open store."""
    if isinstance(store, FeatureStore):
        return FeatureStore.open(store.location, snapshot=store.snapshot_name)
    if isinstance(store, str | Path):
        return FeatureStore.open(store)
    raise InputError(f"got {type(store).__name__} as the store, expected its path or what `featurestore.open` returns")


def listed(value: Any) -> list[Any]:
    """One or several of something as a list: a name alone is one name."""
    if value is None:
        return []
    return [value] if isinstance(value, str) or not isinstance(value, Sequence) else list(value)


def text(value: Any, name: str) -> None:
    """Refuse what is no text; None stands for what was left out."""
    if value is not None and not (isinstance(value, str) and value.strip()):
        raise InputError(f"got {value!r} as {name}, expected a name")


def heads_of(heads: Any, folder: Path | None) -> list[HeadSpec]:
    """The heads of these names, records or functions marked with `head`; none for those of the protocol.

    Parameters
    ----------
    folder
        Gets a file for each head that is defined in a notebook or inside a function; None for a cluster, to which
        files of source code are sent, never objects.

    Raises
    ------
    InputError
        When a name is unknown, or an object is no head, or two heads have one name, or a head is in no file.
    """
    found: dict[str, HeadSpec] = {}
    for one in listed(heads):
        spec = find([one])[0] if isinstance(one, str) else _own(one, folder)
        if found.setdefault(spec.name, spec) != spec:
            raise InputError(f"got two different heads of the name {spec.name!r}: give one of them another name")
    return list(found.values())


def _own(one: Any, folder: Path | None) -> HeadSpec:
    spec = one if isinstance(one, HeadSpec) else getattr(one, "spec", None)
    if not isinstance(spec, HeadSpec):
        name = getattr(one, "__name__", type(one).__name__)
        raise InputError(
            f"got {name} as a head, expected a name (`benchmarks heads` lists them), or a function marked with "
            '`@benchmarks.head("name")` that takes `seed` and returns a classifier'
        )
    if is_importable(spec):
        return spec
    if folder is None:
        raise InputError(
            f"the head {spec.name!r} is defined in a notebook or inside a function: put it into a Python file and "
            "import it, so that its source can be sent to a cluster"
        )
    return importable(spec, spec.function() if one is spec else one.__wrapped__, folder)


@dataclass(frozen=True)
class Columns:
    """The columns that protocols read: ``split`` says train or test, ``by`` the domain; None where none is named."""

    split: str | None
    by: str | None


def protocol_of(protocol: Any, columns: Columns, *, folds: int, repeats: int | None, seed: int) -> Protocol:
    """The protocol of this name with these settings, its usual repeats when None; or the object with the ``columns``.

    Raises
    ------
    InputError
        When there is no such protocol, or a setting is out of bounds, or a column is missing or has no use.
    """
    name = protocol.name if isinstance(protocol, Protocol) else protocol
    if not isinstance(name, str) or name not in PROTOCOLS:
        hint = alike(str(name), PROTOCOLS) or f"known are {', '.join(PROTOCOLS)}"
        raise InputError(f"there is no protocol {str(name)!r}: {hint}")
    if columns.split is not None and name != "given":
        raise InputError(f"got a split for the protocol {name}: use protocol='given', or leave split out")
    if columns.by is not None and name != "across":
        raise InputError(f"got by for the protocol {name}: use protocol='across', or leave by out")
    if columns.by is None and name == "across" and not (isinstance(protocol, Protocol) and protocol.by):
        raise InputError("got the protocol across without by: give what its domains are, such as decades")
    if isinstance(protocol, Protocol):
        return replace(protocol, column=columns.split or protocol.column, by=columns.by or protocol.by)
    whole(folds, "folds", least=2)
    whole(seed, "seed", least=0, most=LARGEST_SEED)
    if repeats is not None:
        whole(repeats, "repeats", least=1)
    drawn = DEFAULT_REPEATS[name] if repeats is None else repeats
    return Protocol(name, folds=folds, repeats=drawn, seed=seed, column=columns.split or COLUMN, by=columns.by or "")


def grouping_of(group: Any, *, hash_distance: Any, cosine: Any) -> Grouping:
    """What is kept on one side of a split.

    Raises
    ------
    InputError
        When ``group`` is no such word, or a threshold no number within its bounds.
    """
    if group not in GROUPS:
        raise InputError(f"got {group!r} as group, expected {' or '.join(map(repr, GROUPS))}")
    whole(hash_distance, "hash_distance", least=0, most=64)
    number(cosine, "cosine")
    return Grouping(group == "near", hash_distance, float(cosine))


def prompting_of(templates: Any, models: Any) -> Prompting:
    """How `zero_shot` names the classes, and the models of backbones by name.

    Raises
    ------
    InputError
        When ``templates`` can't be used, or ``models`` names no backbones.
    """
    if models is not None and not isinstance(models, Mapping):
        raise InputError(f"got {type(models).__name__} as models, expected backbones by name, as in {{'clip': model}}")
    for name, model in (models or {}).items():
        if not isinstance(model, str | Backbone):
            raise InputError(f"got {type(model).__name__} as the model of {name}, expected a backbone or a reference")
    return Prompting(templates_of(templates), dict(models or {}))


def limits_of(*, workers: int | None, time_limit: float, memory_limit: int | None, on: str | None) -> Limits:
    """The limits of a run, within the bounds that the command line has."""
    if workers is not None:
        whole(workers, "workers", least=1)
    if memory_limit is not None:
        whole(memory_limit, "memory_limit (MB)", least=64)
    number(time_limit, "time_limit", of=" of seconds")
    text(on, "on")
    return Limits(workers, float(time_limit), memory_limit, on)


def number(value: Any, name: str, *, of: str = "") -> None:
    """Refuse what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"got {value!r} as {name}, expected a number{of}")


def whole(value: Any, name: str, *, least: int, most: int | None = None) -> None:
    """Refuse what is no whole number from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        upper = "or more" if most is None else f"to {most:,}"
        raise InputError(f"got {value!r} as {name}, expected a whole number, {least} {upper}")
