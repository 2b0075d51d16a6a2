"""Where a store may still name a forgotten image in words: views, settings, texts of tables; it changes nothing."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrow import one_chunk
from featurestore.catalog.commit import read_whole
from featurestore.catalog.database import Database
from featurestore.catalog.recipe import find_recipe
from featurestore.catalog.repair import DAMAGED_STATE
from featurestore.collections.known import SOURCES
from featurestore.forgetting.images import WantedImages
from featurestore.forgetting.rows import NUMBER, NamingColumns, naming_columns, rows_of_images
from featurestore.storage.layout import Layout
from featurestore.storage.names import quote_name, revision_of
from featurestore.storage.schemas import CORE_TABLES
from featurestore.storage.state import STATE_FILE, State

# Titles with fewer characters are found everywhere.
SHORTEST = 4
NUMBERS = re.compile(r"\d+")
# Words of a text that may be a name: without blanks, quotes, brackets and what separates the items of a list.
WORDS = re.compile(r"""[^\s'"`,;()\[\]{}<>|=]+""")


def titles_of(layout: Layout, wanted: WantedImages) -> list[str]:
    """The titles of the images in the current state, which a user's SQL may quote."""
    recipe = find_recipe(layout.state.collection)
    if recipe is None:
        return []
    title = str(layout.state.settings.get("title", recipe.title))
    with Database(layout, layout.root) as database:
        rows = database.query(
            f"SELECT DISTINCT {quote_name(title)}::VARCHAR AS title FROM collection "
            "WHERE ImgId IN (SELECT unnest(?)) AND title IS NOT NULL ORDER BY 1",
            [wanted.ids.to_pylist()],
        )
    return [text for text in rows["title"].to_pylist() if len(text) >= SHORTEST]


def said_in_records(states: Mapping[str, State], wanted: WantedImages, titles: Sequence[str]) -> Iterator[str]:
    """A sentence on each user's view, and each setting, of the states that may name one of the images."""
    ids = {str(number) for number in wanted.ids.to_pylist()}
    texts = [text for name in (*wanted.names, *titles) for text in (name, name.replace("'", "''"))]
    for path, state in states.items():
        place = "" if path == STATE_FILE else f" of {path.removesuffix('.json').replace('snapshots/', 'the snapshot ')}"
        for view, query in state.views.items():
            if ids.intersection(NUMBERS.findall(query)) or any(text in query for text in texts):
                yield f"the SQL of your view {view!r}{place} may name a forgotten image: look at it"
        sources = state.settings.get(SOURCES, ())
        for setting, value in state.settings.items():
            said = [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else ()
            if setting != SOURCES and any(text in one for one in said for text in wanted.names):
                yield f"the setting {setting!r}{place} has the name of a forgotten image: ingest with another one"
        if isinstance(sources, (list, tuple)) and any(
            source.rpartition("/")[2] in wanted.names for source in map(str, sources)
        ):
            yield f"a source of images{place} has the name of a forgotten image: ingest without it"


def said_in_damaged(root: Path, wanted: WantedImages, titles: Sequence[str]) -> Iterator[str]:
    """A sentence if the state that `repair` has kept may name one of the images in a view or a setting."""
    path = root / DAMAGED_STATE
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    if any(json.dumps(name)[1:-1] in text for name in (*wanted.names, *titles)):
        yield f"{DAMAGED_STATE}, which `repair` has kept, may name a forgotten image: remove it"


def said_in_tables(layout: Layout, wanted: WantedImages) -> Iterator[str]:
    """A sentence on each column of a table of another program that names one of the images and is left as it is.

    Raises
    ------
    IntegrityError
        When a part is missing or damaged.
    """
    recipe = find_recipe(layout.state.collection)
    names = _Names.of(wanted)
    for table in layout.state.tables:
        if table in CORE_TABLES or revision_of(table) is not None:
            continue
        schema = layout.schema(table)
        columns = naming_columns(table, schema, recipe)
        texts = [field.name for field in schema if _has_text(field.type)]
        nested = [name for name in _nested(schema) if name not in columns.lists]
        counts = dict.fromkeys([*texts, *nested], 0)
        for part in layout.parts(table) if counts else ():
            rows = read_whole(layout.objects, part, list(dict.fromkeys([*columns.all, *counts])))
            left = _others(table, rows, columns, wanted)
            for name in texts:
                counts[name] += _matching(one_chunk(left[name]), names)
            for name in nested:
                counts[name] += sum(_names(value, wanted) for value in left[name].to_pylist())
        for name, count in counts.items():
            if count:
                yield (
                    f"the column {name!r} of the table {table!r} names a forgotten image in {count:,} "
                    f"{'row' if count == 1 else 'rows'} that may be of something else: they are kept"
                )


def _others(table: str, rows: pa.Table, columns: NamingColumns, wanted: WantedImages) -> pa.Table:
    return rows.filter(pa.array(~rows_of_images(table, rows, columns, wanted)))


@dataclass(frozen=True)
class _Names:
    """Names and hashes to find in texts: those that are one word, and all others."""

    words: frozenset[str]
    others: Sequence[str]

    @classmethod
    def of(cls, wanted: WantedImages) -> "_Names":
        texts = wanted.names | wanted.hashes
        words = frozenset(text for text in texts if WORDS.fullmatch(text))
        return cls(words, sorted(texts - words))

    def are_in(self, text: str) -> bool:
        """Whether ``text`` has one of them, also at the end of a longer path."""
        for word in WORDS.findall(text) if self.words else ():
            rest = word.rstrip(".:!?")
            while rest:
                if rest in self.words:
                    return True
                rest = rest.partition("/")[2]
        return any(name in text for name in self.others)


def _has_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(inner) or pa.types.is_large_string(inner)


def _matching(column: pa.Array, names: _Names) -> int:
    """How many values of a column of texts, or of lists of texts, match; each different text is looked at once."""
    values = pc.list_flatten(column) if pa.types.is_list(column.type) else column
    counted = (values.dictionary_decode() if pa.types.is_dictionary(values.type) else values).value_counts()
    pairs = zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True)
    return sum(count for text, count in pairs if text is not None and names.are_in(text))


def _nested(schema: pa.Schema) -> list[str]:
    """Columns of lists or structs that have ImgIds by their name or that of a field."""
    return [field.name for field in schema if pa.types.is_nested(field.type) and _has_numbers(field)]


def _has_numbers(field: pa.Field) -> bool:
    kind = field.type
    inner = [kind.field(place) for place in range(kind.num_fields)]
    if field.name.lower() in (NUMBER, f"{NUMBER}s"):
        return True
    return any(_has_numbers(one) for one in inner)


def _names(value: object, wanted: WantedImages) -> bool:
    ids = set(wanted.ids.to_pylist())
    if isinstance(value, dict):
        return any(_names(inner, wanted) for inner in value.values())
    if isinstance(value, (list, tuple)):
        return any(_names(inner, wanted) for inner in value)
    return isinstance(value, int) and value in ids
