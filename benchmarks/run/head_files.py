"""The heads of a user's files, and the checks of any: code of users runs in worker processes, which send plain data."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.heads.base import HeadSpec, Shown
from benchmarks.heads.contract import violations
from benchmarks.heads.registry import NAME, find, from_file
from benchmarks.plan.cells import shortened
from benchmarks.run.pool import computed
from featurestore.errors import FeatureStoreError, InputError

# Seconds that a file may take to be run.
SECONDS = 120.0
_SCALARS = (str, int, float, bool, type(None))
_FIELDS = {"name": str, "about": str, "function": str, "random": bool, "values": dict, "texts": dict, "search": dict}


def find_heads(names: Sequence[str], *, files: Sequence[Path] = (), protocol: str | None = None) -> list[HeadSpec]:
    """`registry.find`, with the heads of ``files``.

    Raises
    ------
    InputError
        As that, or when a file can't be run or marks no head.
    """
    return find(names, own=[spec for path in files for spec in heads_of(path)], protocol=protocol)


def heads_of(path: Path) -> list[HeadSpec]:
    """The heads that a Python file marks; this process does not run it.

    A setting is its value where that is a number or text, else `Shown`: the factory has it as its default.

    Raises
    ------
    InputError
        When the file can't be run, or marks none.
    """
    ((_, found),) = computed(
        _listed,
        [path.resolve()],
        workers=1,
        failed=lambda sentence: f"{str(path)!r} can't be run: {sentence}",
        read=_read,
        time_limit=SECONDS,
        alone=lambda _: True,
    )
    if isinstance(found, str):
        raise InputError(found)
    return found


def checked(specs: Sequence[HeadSpec]) -> list[dict[str, str]]:
    """What each head does wrong, see `contract.violations`; ``process`` names what ended the process of the checks."""
    found = computed(
        violations,
        specs,
        workers=1,
        failed=lambda sentence: {"process": sentence},
        read=_read_violations,
        alone=lambda spec: not spec.is_built_in,
    )
    by_number = dict(found)
    return [by_number[number] for number in range(len(specs))]


def _read_violations(spec: HeadSpec, content: Any) -> dict[str, str]:
    if not isinstance(content, dict) or not all(isinstance(text, str) for text in content.values()):
        raise ValueError("no checks")
    return {shortened(name): shortened(text) for name, text in content.items()}


def _listed(path: Path) -> str | list[dict[str, Any]]:
    """In the worker: what `_head` needs of each head, or why there is none."""
    try:
        return [_plain(spec) for spec in from_file(path)]
    except FeatureStoreError as error:
        return str(error)


def _plain(spec: HeadSpec) -> dict[str, Any]:
    given = spec.parameters.items()
    return {
        "name": spec.name,
        "about": spec.about,
        "function": spec.factory.rpartition(":")[2],
        "random": spec.random,
        "values": {name: value for name, value in given if type(value) in _SCALARS},
        "texts": {name: repr(value) for name, value in given if type(value) not in _SCALARS},
        "search": {name: repr(values) for name, values in spec.search.items()},
    }


def _read(path: Path, content: Any) -> str | list[HeadSpec]:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise ValueError("no heads")
    return [_head(path, plain) for plain in content]


def _head(path: Path, plain: Any) -> HeadSpec:
    if not (isinstance(plain, dict) and {name: type(plain.get(name)) for name in _FIELDS} == _FIELDS):
        raise ValueError("no head")
    if not re.fullmatch(NAME, plain["name"]) or not plain["function"].isidentifier():
        raise ValueError("no name of a head")
    shown = {name: _shown(plain[name]) for name in ("texts", "search")}
    return HeadSpec(
        plain["name"],
        shortened(plain["about"]),
        f"{path}:{plain['function']}",
        {**plain["values"], **shown["texts"]},
        plain["random"],
        shown["search"],
    )


def _shown(texts: dict[str, Any]) -> dict[str, Shown]:
    if not all(isinstance(text, str) for text in texts.values()):
        raise ValueError("no settings")
    return {name: Shown(text) for name, text in texts.items()}
