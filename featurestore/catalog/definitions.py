"""The views and macros of a state: their names, and the SQL of each, read from ``sql/`` when it is needed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from featurestore.catalog.guard import Readable
from featurestore.catalog.scans import EMBEDDINGS, TableScan
from featurestore.storage.layout import Layout
from featurestore.storage.names import own_views, quote_name, well_named

# The parameters of the macros in sql/macros and, for one per backbone, in sql/backbone. The first are scalar.
FUNCTIONS = {"cosine": "a, b", "euclidean": "a, b", "inner_product": "a, b"}
TABLE_MACROS = {"labeled_top": "n"}
OF_BACKBONE = {"similar": "img_id, k"}
# What a view is created with that is not looked at before it is used; DuckDB 1.4 does not know it.
DEFERRED = "WITH (DEFER_BINDING)"


class Key(NamedTuple):
    """Identifies a view or macro: a view and a macro may have the same name."""

    kind: str  # "view" or "macro"
    name: str


@dataclass(frozen=True)
class Own:
    """A built-in view or macro: ``CREATE OR REPLACE {head} {text}``, where the text is that of a file in ``sql/``.

    Parameters
    ----------
    backbone
        The backbone that it belongs to; empty for the others.
    is_query
        Whether the text is a SELECT, which can be parsed; else it is an expression that uses no view.
    """

    head: str
    file: str
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
        text = _read(own.file)
        values: dict[str, object] = {**self.layout.state.settings, "backbone": own.backbone}
        if "{embed_dim}" in text:  # needs the manifest: read it only where the text uses it
            values["embed_dim"] = self.layout.dim(own.backbone)
        return f"CREATE OR REPLACE {own.head} {_filled(text, values)}"

    def shape(self, file: str) -> str:
        """The text of a file for `parse`; the backbone is left as a placeholder, so that it is parsed once for all."""
        return _filled(_read(file), {**self.layout.state.settings, "embed_dim": 1})


def define(layout: Layout, *, users: bool = True, deferred: bool = False) -> Definitions:
    """The definitions of ``layout``, with its ``users``' views, the store's own ``deferred``; it reads no part."""
    state, option = layout.state, f" {DEFERRED}" if deferred else ""
    own: dict[Key, Own | TableScan] = {Key("view", table): TableScan(table) for table in layout.tables}
    for name in own_views():
        own[Key("view", name)] = Own(f"VIEW {name}{option} AS", f"views/{name}.sql")
    for name, parameters in FUNCTIONS.items():
        own[Key("macro", name)] = Own(f"MACRO {name}({parameters}) AS", f"macros/{name}.sql", is_query=False)
    for name, parameters in TABLE_MACROS.items():
        own[Key("macro", name)] = Own(f"MACRO {name}({parameters}) AS TABLE", f"macros/{name}.sql")
    for backbone in state.revisions:
        own[Key("view", f"_parts_{backbone}")] = TableScan(EMBEDDINGS, backbone)
        for what in ("embeddings", "labeled"):
            head = f"VIEW {quote_name(f'{what}_{backbone}')}{option} AS"
            own[Key("view", f"{what}_{backbone}")] = Own(head, f"backbone/{what}.sql", backbone)
        for what, parameters in OF_BACKBONE.items():
            head = f"MACRO {quote_name(f'{what}_{backbone}')}({parameters}) AS TABLE"
            own[Key("macro", f"{what}_{backbone}")] = Own(head, f"backbone/{what}.sql", backbone)
    named = well_named(state.tables, state.revisions, state.views) if users and state.views else []
    views = [key.name for key in own if key.kind == "view"]
    macros = [key.name for key in own if key.kind == "macro" and key.name not in FUNCTIONS]
    return Definitions(
        layout, own, {name: state.views[name] for name in named}, Readable({*views, *named}, FUNCTIONS, macros)
    )


def _filled(text: str, values: Mapping[str, object]) -> str:
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


@cache
def _read(file: str) -> str:
    return files("featurestore").joinpath(f"catalog/sql/{file}").read_text("utf-8")
