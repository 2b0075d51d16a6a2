"""Collection: how images and metadata become rows, as a record with SQL text; finds the record by its name."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.resources import files

import pyarrow as pa

from featurestore.errors import InputError, IntegrityError, reason
from featurestore.storage.names import OwnNames, alike, core_views, quote_name
from featurestore.storage.schemas import CORE_TABLES

ENTRY_POINTS = "featurestore.collections"
# The type of everything that no other recognises.
GENERAL = "general"
# The records of this package; those of other packages come from entry points. Named as text: imports go one way.
BUILT_IN = {
    "movies": "featurestore.collections.movies.recipe:MOVIES",
    GENERAL: "featurestore.collections.general.recipe:GENERAL",
}
# Every collection has these views: its images with their metadata, those with a label, and what did not fit.
NEEDED_VIEWS = ("collection", "labeled", "problems")
# The SELECT of a view that shows a table with the columns that it is stored with.
AS_STORED = "FROM {rows}"

Setting = int | str | Sequence[str]


@dataclass(frozen=True)
class Collection:
    """One kind of collection, a recipe for short.

    Parameters
    ----------
    name
        Recorded in the state of a store.
    table, schema
        The table of the metadata, and the columns that it always has.
    shown
        The SELECT of the view of ``table``; ``{rows}`` stands for the stored rows. A comment in its first line, as in
        those of ``views`` and ``macros``, is what `featurestore schema` says of it.
    views
        The SELECT of each view, among them `NEEDED_VIEWS`; ``{setting}`` stands for a setting of the store, numbers as
        they are and texts as quoted identifiers. Labels are corrected in `collection`: views that are to show it stand
        on `collection`.
    macros
        For each table macro its parameters and its SELECT.
    reader
        ``module:function``: the metadata file and the images become rows.
    numbering
        ``module:function``: the names of images become ids.
    recognises
        ``module:function``: whether a metadata file is of this kind; empty if it must be named.
    label, title
        The default label, and the column with a title: a column of `collection`, or a setting that names it.
    key
        The column of ``table`` that identifies a row.
    key_number, key_name
        ``module:function``: where the ImgId is in the name of an image, ``f(key) -> int | None`` finds it in what other
        tools call the image, and ``f(key, ImgId) -> str`` makes the name. Empty if such keys are matched with names.
    settings
        The settings of a new store.
    layouts
        Layouts of CSV files that only this type can export: the view of each, and its columns before the vectors.
    """

    name: str
    table: str
    schema: pa.Schema
    views: Mapping[str, str]
    reader: str
    numbering: str
    label: str
    title: str
    key: str
    recognises: str = ""
    key_number: str = ""
    key_name: str = ""
    shown: str = AS_STORED
    macros: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    settings: Mapping[str, Setting] = field(default_factory=dict)
    layouts: Mapping[str, tuple[str, Sequence[str]]] = field(default_factory=dict)

    def texts(self, settings: Mapping[str, Setting]) -> dict[str, str]:
        """What stands for each setting in SQL; those that a store lacks have their first value."""
        return {
            name: str(value) if isinstance(value, int) else quote_name(value)
            for name, value in self.complete(settings).items()
            if isinstance(value, (int, str))
        }

    def complete(self, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        """The ``settings`` of a store, and the first values of those that it lacks.

        Raises
        ------
        IntegrityError
            When a setting is of another type than its first value.
        """
        for name, first in self.settings.items():
            if type(settings.get(name, first)) is not type(first):
                expected = {int: "number", str: "text"}.get(type(first), "list of texts")
                raise IntegrityError(
                    f"the state is damaged: its setting {name} is {str(settings[name])[:80]!r}, expected a {expected}; "
                    "restore it from a copy"
                )
        return {**self.settings, **settings}

    def columns(self, settings: Mapping[str, Setting]) -> pa.Schema:
        """The columns of ``table`` that its views need: those of ``schema``, and a label that the settings name."""
        label = settings.get("label", self.settings.get("label"))
        if not isinstance(label, str) or label in self.schema.names:
            return self.schema
        return self.schema.append(pa.field(label, pa.string()))


@cache
def find_recipe(name: str) -> Collection | None:
    """The collection type ``name``; None if the package that brings it is not installed, or is not usable."""
    try:
        return recipe_named(name)
    except InputError:
        return None


@cache
def recipe_named(name: str) -> Collection:
    """The collection type ``name``.

    Raises
    ------
    InputError
        When there is none, or it can't be used.
    """
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return _checked(getattr(import_module(module), attribute), name)
    for point in entry_points(group=ENTRY_POINTS, name=name):
        try:
            found = point.load()
        except Exception as error:  # the package may raise anything
            raise InputError(
                f"the collection type {name!r} can't be imported ({type(error).__name__}: {reason(error)}): upgrade or "
                "remove the package that brings it"
            ) from error
        return _checked(found, name)
    known = recipe_names()
    hint = alike(name, known) or f"known are {', '.join(known)}"
    raise InputError(f"there is no collection type {name!r} ({hint}): install the package that brings it")


def recipe_names() -> list[str]:
    """The names of all installed collection types."""
    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINTS))})


def fill(text: str, values: Mapping[str, str]) -> str:
    """``text`` with each of ``values`` in place of its ``{name}``; a value that looks like a name stays as it is."""
    names = "|".join(map(re.escape, values))
    return re.sub(f"{{({names})}}", lambda found: values[found[1]], text) if names else text


def own_names(collection: str) -> OwnNames:
    """The names of the tables and views that every store of this collection type has."""
    recipe = find_recipe(collection)
    if recipe is None:
        return OwnNames([*CORE_TABLES], [*core_views(), *NEEDED_VIEWS])
    return OwnNames([*CORE_TABLES, recipe.table], [*core_views(), *recipe.views])


def sql_of(package: str, name: str) -> str:
    """The text of ``sql/NAME.sql`` in ``package``."""
    return files(package).joinpath(f"sql/{name}.sql").read_text("utf-8")


def _checked(found: object, name: str) -> Collection:
    if not isinstance(found, Collection) or found.name != name or not {*NEEDED_VIEWS} <= found.views.keys():
        raise InputError(
            f"the collection type {name!r} is not usable: expected a Collection of that name with the views "
            f"{', '.join(NEEDED_VIEWS)}, got {type(found).__name__}; remove or upgrade the package that brings it"
        )
    return found
