"""Which columns of a table name the images and which hold the vectors: by names and types; it reads no values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from featurestore.errors import InputError

# The names of columns, the first that is there wins. pandas calls an index without a name `__index_level_0__`.
NAMES = ("ImgName", "image_path", "path", "file_name", "filename", "image", "key", "id", "url", "__index_level_0__")
VECTORS = ("embedding", "vector", "embeddings", "features", "emb")
EXPECTED = (
    f"ImgName or ImgId (or {', '.join(NAMES[1:-1])}), and the vectors as 0 … d-1, f0 … or one column of lists "
    f"({', '.join(VECTORS)})"
)
# Digits of the number in a column's name.
DIGITS = 7
Types = Mapping[str, pa.DataType]


@dataclass(frozen=True)
class Chosen:
    """``number`` is the column of ImgIds, ``name`` that of other keys: one or both are there.

    ``vectors`` is one column of lists (``lists``), or the numbered columns in their order.
    """

    number: str | None
    name: str | None
    vectors: tuple[str, ...]
    lists: bool
    notes: tuple[str, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that name the images."""
        return tuple(name for name in (self.number, self.name) if name is not None)


def first(names: Iterable[str], wanted: Sequence[str]) -> str | None:
    """The first of ``wanted`` that is among ``names``, as it is written there: in the same case, else in any."""
    found = {name.casefold(): name for name in reversed(list(names))} | {name: name for name in names}
    return next((found[form] for name in wanted for form in (name, name.casefold()) if form in found), None)


def refuse_twice(names: Sequence[str], file: Path) -> None:
    """Raise InputError when a name occurs twice."""
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise InputError(f"{file}: the column {twice[0]!r} occurs more than once: rename or remove the other")


def choose(names: Sequence[str], file: Path, *, types: Types | None = None) -> Chosen:
    """Choose the columns of a table with ``names``; ``types`` where the file says them.

    Raises
    ------
    InputError
        When none names the images or none holds vectors, or a needed name occurs twice.
    """
    number, name, notes = key_columns(names, types)
    got = f"{file}: got the columns {', '.join(names[:6])}{', …' if len(names) > 6 else ''}"
    if number is None and name is None:
        raise InputError(f"{got}; expected {EXPECTED}")
    others = [one for one in names if one not in (number, name)]
    vectors, lists = _vector_columns(others, types)
    if not vectors:
        raise InputError(f"{got}; expected 0 … d-1 (or f0 …, dim_0 …) without gaps, or lists in `embedding`")
    if vectors[0] not in ("embedding", "0"):
        said = f"`{vectors[0]}`" if lists else f"`{vectors[0]}` … `{vectors[-1]}`"
        notes += (f"the vectors are in {'the column' if lists else f'{len(vectors):,} columns'} {said}",)
    used = {*vectors, number, name}
    refuse_twice([one for one in names if one in used], file)
    return Chosen(number, name, vectors, lists, notes)


def key_columns(names: Sequence[str], types: Types | None) -> tuple[str | None, str | None, tuple[str, ...]]:
    """The column of ImgIds and that of other keys, None where there is none; and what was guessed."""
    number = first(names, ["ImgId"])
    fit = [name for name in names if types is None or _names_images(name, types[name])]
    if number is not None:
        return number, first(fit, ["ImgName"]), ()
    name = first(fit, NAMES) or first(names, NAMES)
    said = () if name in (None, "ImgName") else (f"the images are named by the column `{name}`",)
    return None, name, said


def _names_images(name: str, kind: pa.DataType) -> bool:
    """Whether a column of that type can name images; one called `image` may hold their bytes."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    return is_text(kind) or is_number_type(kind) or (is_bytes and name.casefold() != "image")


def _vector_columns(names: Sequence[str], types: Types | None) -> tuple[tuple[str, ...], bool]:
    """The columns of the vectors, and whether it is one of lists; empty if there are none."""
    lists = [name for name in names if types is not None and is_lists(types[name])]
    if named := first(lists, VECTORS):
        return (named,), True
    groups = _numbered(names)
    if "" in groups:
        return _whole(groups[""], start=(0,)), False
    if named := first(names, VECTORS) or (lists[0] if len(lists) == 1 else None):
        return (named,), True
    numeric = [name for name in names if types is None or is_number_type(types[name])]
    largest = max(_numbered(numeric).values(), key=len, default={})
    return (_whole(largest, start=(0, 1)) if len(largest) > 1 else ()), False


def _numbered(names: Sequence[str]) -> dict[str, dict[int, str]]:
    """The columns that end with a number: for each text in front of it, the names by number."""
    groups: dict[str, dict[int, str]] = {}
    for name in names:
        front = name.rstrip("0123456789")
        if front != name and len(name) - len(front) <= DIGITS:
            groups.setdefault(front, {}).setdefault(int(name[len(front) :]), name)
    return groups


def _whole(group: Mapping[int, str], *, start: tuple[int, ...]) -> tuple[str, ...]:
    """The names by ascending number; empty if the numbers have gaps, or begin with none of ``start``."""
    low, high = min(group), max(group)
    return tuple(group[number] for number in sorted(group)) if low in start and high - low + 1 == len(group) else ()


def is_text(kind: pa.DataType) -> bool:
    """Whether it is one of Arrow's types of text."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def is_number_type(kind: pa.DataType) -> bool:
    """Whether it is a type of whole or floating-point numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def is_lists(kind: pa.DataType) -> bool:
    """Whether it is a type of lists or a tensor."""
    kind = storage_type(kind)
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def storage_type(kind: pa.DataType) -> pa.DataType:
    """The type that an extension type is stored as; any other type itself."""
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
