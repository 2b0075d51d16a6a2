"""What a store knows of its collection: the folders that were read, and the rows of the metadata."""

import pyarrow as pa

from featurestore.catalog.recipe import Collection
from featurestore.collections.object_folder import Source, stored_source
from featurestore.collections.reading import KeptMetadata
from featurestore.errors import StoreNotFound
from featurestore.storage.layout import Layout
from featurestore.storage.objects import Place
from featurestore.storage.parts import check_once, read_part
from featurestore.storage.state import State, read_state

# A setting of every collection type: what the last ingest read, so that `embed` can scan it again.
SOURCES = "sources"


def state_or_none(place: Place) -> State | None:
    try:
        return read_state(place)
    except StoreNotFound:
        return None


def sources_of(state: State | None) -> list[Source]:
    """The folders and files of images that the last ingest read."""
    found = () if state is None else state.settings.get(SOURCES, ())
    return [stored_source(source) for source in found] if isinstance(found, (list, tuple)) else []


def rows_of(layout: Layout, kind: Collection) -> pa.Table:
    """The table of the metadata of a state, in the order in which it was stored."""
    if kind.table not in layout.state.tables:
        return kind.schema.empty_table()
    parts = layout.parts(kind.table)
    layout.fetch(parts)
    for part in parts:
        check_once(part, layout.root)
    empty = layout.schema(kind.table).empty_table()
    return pa.concat_tables([empty, *(read_part(layout.root / part.path) for part in parts)])


def kept(layout: Layout, kind: Collection) -> KeptMetadata:
    """The metadata of a state, for an ingest that names none."""
    return KeptMetadata(rows_of(layout, kind), layout.state.settings)
