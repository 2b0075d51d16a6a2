"""The views and macros of a state: their names, and the SQL of each, read from ``sql/`` when it is needed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from featurestore.catalog.guard import Readable
from featurestore.catalog.recipe import NEEDED_VIEWS, fill, find_recipe, own_names, recipe_named
from featurestore.catalog.scans import EMBEDDINGS, TableScan, empty
from featurestore.errors import InputError
from featurestore.storage.layout import Layout
from featurestore.storage.names import core_views, quote_name, quote_text, well_named

# The parameters of the scalar macros in sql/macros, and of the table macros of each backbone in sql/backbone.
FUNCTIONS = {"cosine": "a, b", "euclidean": "a, b", "inner_product": "a, b", "mean_vector": "embedding"}
OF_BACKBONE = {"similar": "img_id, k"}
# What a view is created with that is not looked at before it is used; DuckDB 1.4 does not know it.
DEFERRED = "WITH (DEFER_BINDING)"


class Key(NamedTuple):
    """Identifies a view or macro: a view and a macro may have the same name."""

    kind: str  # "view" or "macro"
    name: str


@dataclass(frozen=True)
class Own:
    """A built-in view or macro: ``CREATE OR REPLACE {head} {text}``; settings and backbone are put into the text.

    Parameters
    ----------
    backbone
        The backbone that it belongs to; empty for the others.
    is_query
        Whether the text is a SELECT, which can be parsed; else it is an expression that uses no view.
    """

    head: str
    text: str
    backbone: str = ""
    is_query: bool = True


@dataclass(frozen=True)
class Definitions:
    """All views and macros of ``layout``; ``users`` has the query of each user's view, in the order of the state."""

    layout: Layout
    own: Mapping[Key, Own | TableScan]
    users: Mapping[str, str]
    readable: Readable = field(repr=False)

    def statement(self, own: Own) -> str:
        """The SQL statement that creates ``own``."""
        return f"CREATE OR REPLACE {own.head} {self.body(own)}"

    def body(self, own: Own) -> str:
        """The SELECT, or the expression, that ``own`` stands for."""
        return fill(own.text, self._settings() | {"backbone": own.backbone})

    def shape(self, text: str) -> str:
        """The ``text`` for `parse`; the backbone is left as a placeholder, so that it is parsed once for all."""
        return fill(text, self._settings() | {"backbone": "{backbone}", "embed_dim": "1", "rows": "(SELECT 1)"})

    def _settings(self) -> dict[str, str]:
        recipe = find_recipe(self.layout.state.collection)
        return {} if recipe is None else recipe.texts(self.layout.state.settings)


def define(layout: Layout, *, users: bool = True, deferred: bool = False) -> Definitions:
    """The definitions of ``layout``, with its ``users``' views, the store's own ``deferred``; it reads no part."""
    state, option = layout.state, f" {DEFERRED}" if deferred else ""
    own: dict[Key, Own | TableScan] = {Key("view", table): TableScan(table) for table in layout.tables}
    for name in core_views():
        own[Key("view", name)] = Own(f"VIEW {name}{option} AS", _read(f"views/{name}.sql"))
    for name, parameters in FUNCTIONS.items():
        own[Key("macro", name)] = Own(f"MACRO {name}({parameters}) AS", _read(f"macros/{name}.sql"), is_query=False)
    own |= _of_collection(layout, option)
    for backbone in state.revisions:
        vectors = TableScan(EMBEDDINGS, backbone, shown=_read("backbone/embeddings.sql"))
        head = f"VIEW {quote_name(f'labeled_{backbone}')}{option} AS"
        own[Key("view", f"embeddings_{backbone}")] = vectors
        own[Key("view", f"labeled_{backbone}")] = Own(head, _read("backbone/labeled.sql"), backbone)
        for what, parameters in OF_BACKBONE.items():
            head = f"MACRO {quote_name(f'{what}_{backbone}')}({parameters}) AS TABLE"
            own[Key("macro", f"{what}_{backbone}")] = Own(head, _read(f"backbone/{what}.sql"), backbone)
    wanted = state.views if users else {}
    named = well_named(state.tables, state.revisions, wanted, own=own_names(state.collection)) if wanted else []
    views = [key.name for key in own if key.kind == "view"]
    macros = [key.name for key in own if key.kind == "macro" and key.name not in FUNCTIONS]
    return Definitions(
        layout, own, {name: state.views[name] for name in named}, Readable({*views, *named}, FUNCTIONS, macros)
    )


def _of_collection(layout: Layout, option: str) -> dict[Key, Own | TableScan]:
    """The views and macros of the collection type; if it is not installed, views that say so."""
    try:
        recipe = recipe_named(layout.state.collection)
    except InputError as error:
        why = quote_text(f"{error}; tables and embeddings can be read without it")
        fails = f"SELECT error({why})::INTEGER AS ImgId WHERE error({why}) IS NULL"
        return {Key("view", name): Own(f"VIEW {name}{option} AS", fails) for name in NEEDED_VIEWS}
    recipe.complete(layout.state.settings)  # raises if one is invalid
    own: dict[Key, Own | TableScan] = {}
    columns = recipe.columns(layout.state.settings)
    own[Key("view", recipe.table)] = (
        TableScan(recipe.table, columns=columns, shown=recipe.shown)
        if recipe.table in layout.state.tables
        else Own(f"VIEW {quote_name(recipe.table)}{option} AS", fill(recipe.shown, {"rows": f"({empty(columns)})"}))
    )
    views = {**recipe.views}
    if "corrections" in layout.state.tables:
        views["collection"] = fill(_read("corrected/collection.sql"), {"as_read": f"(\n{views['collection']}\n)"})
    for name, text in views.items():
        own[Key("view", name)] = Own(f"VIEW {quote_name(name)}{option} AS", text)
    for name, (parameters, text) in recipe.macros.items():
        own[Key("macro", name)] = Own(f"MACRO {name}({parameters}) AS TABLE", text)
    return own


@cache
def _read(file: str) -> str:
    return files("featurestore").joinpath(f"catalog/sql/{file}").read_text("utf-8")
