"""Reads the metadata of any collection: a table of any kind, the tables of an imagefolder, or the names of folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.catalog.recipe import Setting
from featurestore.collections.general import table_rows
from featurestore.collections.general.folders import FolderColumns, asked_level, folder_columns
from featurestore.collections.general.recipe import LABEL, OWN_COLUMNS
from featurestore.collections.general.sidecars import find_tables
from featurestore.collections.listing import Listing
from featurestore.collections.reading import Request, Rows
from featurestore.collections.tables import ReadTable, read_table, reserve
from featurestore.errors import InputError

# A setting: whether the metadata came from folders or from a table.
ORIGIN, FOLDERS, TABLE = "origin", "folders", "table"
# A setting: the level of the folder that is the label, if it was asked for.
FOLDER = "folder"
SPLIT = "split"
# Suffixes of other files that a message lists.
LISTED = 5


@dataclass(frozen=True)
class GeneralReading:
    """The table that was read, or None; see `Reading`."""

    request: Request
    table: ReadTable | None
    key: str | None
    nested = True

    def check(self, listing: Listing) -> None:
        """See `Reading.check`."""
        for number, source in enumerate(listing.sources):
            if number not in set(listing.numbers):
                raise InputError(f"{str(source)!r} holds no image ({_others(listing)}): name the folder of the images")

    @property
    def names(self) -> Sequence[str]:
        """See `Reading.names`: without images, the key of each row is the name of one."""
        if self.request.images or self.table is None:
            return ()
        if self.key is None:
            have = ", ".join(self.table.rows.column_names)
            raise InputError(f"without --images, name the column that names the images with --key (there are: {have})")
        keys = table_rows.key_texts(self.table.rows, self.key)
        return list(dict.fromkeys(key for key in keys if key))

    def rows(self, images: pa.Table) -> Rows:
        """See `Reading.rows`."""
        known = images.filter(pc.not_equal(images["status"], "gone"))
        if self.request.stored is not None:
            return self._again(known)
        if self.table is None:
            rows = _rows_of_folders(known, self.request.labels)
            asked = {FOLDER: self.request.labels[0]} if self.request.labels else {}
            return Rows(rows, {**_settings(FOLDERS, LABEL), **asked}, {}, _folder_notes(rows))
        found = table_rows.join(self.table, known, key=self.key, labels=self.request.labels)
        table, label, notes = found.rows, found.label, list(found.notes)
        folders = folder_columns(known["ImgName"].to_pylist())
        if SPLIT not in table.column_names and folders.splits is not None:
            table = _with_column(table, SPLIT, known, folders.splits)
        if label is None:
            usual = len({name for name in folders.labels if name}) > 1 and LABEL not in table.column_names
            table = _with_column(table, LABEL, known, folders.labels if usual else [None] * len(known))
            notes.append(
                f"the table has no label: the folder of each image is its label, in the column {LABEL!r}"
                if usual
                else "there is no label: name its column with --label"
            )
            label = LABEL
        steps = {"rows read": len(self.table.rows)}
        return Rows(table, _settings(TABLE, label, found.title), steps, notes)

    def _again(self, images: pa.Table) -> Rows:
        """The stored rows, with those of images that came since."""
        assert self.request.stored is not None
        settings = self.request.settings
        if settings.get(ORIGIN) == FOLDERS:
            return Rows(_rows_of_folders(images, [str(settings[FOLDER])] if FOLDER in settings else []))
        return Rows(table_rows.join_again(self.request.stored, images))


def read(request: Request) -> GeneralReading:
    """Read the table of ``request``, or find that of an imagefolder; raises `MetadataError` when it can't be read."""
    if request.columns:
        raise InputError("got --column, which only a collection of movies has: name the key with --key")
    if "top_genres" in request.settings and request.stored is None:
        raise InputError("got a number of genres, which only a collection of movies has: leave it out")
    if request.stored is not None:
        return GeneralReading(request, None, None)
    if not request.images and request.metadata is None:
        raise InputError("got neither images nor a table: name a folder with --images, or a table with --metadata")
    if request.metadata is not None:
        read = read_table(request.metadata)
        reserved = reserve(read.rows)
        return GeneralReading(request, ReadTable(reserved.rows, (*read.notes, *reserved.notes)), request.key)
    found = find_tables(request.images)
    if found is None:
        if request.key is not None:
            raise InputError("got --key without a table: name the table with --metadata")
        return GeneralReading(request, None, None)
    return GeneralReading(request, found.table, request.key or found.key)


def _rows_of_folders(images: pa.Table, labels: Sequence[str]) -> pa.Table:
    """One row for each usable image, with the label from its path."""
    level = asked_level(labels)
    if labels and level is None:
        raise InputError(f"got --label {labels[0]!r} without a table: name the table with --metadata, or folder:N")
    usable = images.filter(pc.is_in(images["status"], value_set=pa.array(["ok", "external"])))
    names = usable["ImgName"]
    columns = folder_columns(names.to_pylist(), level=-1 if level is None else level)
    return pa.table(_own(usable["ImgId"], names) | _folder_arrays(columns))


def _own(ids: pa.ChunkedArray, keys: pa.ChunkedArray) -> dict[str, pa.Array]:
    nothing = pa.nulls(len(ids), pa.string())
    return dict(zip(OWN_COLUMNS.names, (ids, keys, nothing, nothing), strict=True))


def _folder_arrays(columns: FolderColumns) -> dict[str, pa.Array]:
    arrays = {LABEL: pa.array(columns.labels, pa.string())}
    return arrays if columns.splits is None else arrays | {SPLIT: pa.array(columns.splits, pa.string())}


def _with_column(table: pa.Table, name: str, images: pa.Table, values: Sequence[str | None]) -> pa.Table:
    """``table`` with a column of one of the ``values`` for each image; null for rows without an image."""
    places = pc.index_in(table["ImgId"], value_set=images["ImgId"].combine_chunks(), skip_nulls=True)
    return table.append_column(name, pa.array(values, pa.string()).take(places.combine_chunks()))


def _settings(origin: str, label: str, title: str | None = None) -> Mapping[str, Setting]:
    return {ORIGIN: origin, LABEL: label, **({} if title is None else {"title": title})}


def _folder_notes(rows: pa.Table) -> list[str]:
    if not rows[LABEL].null_count < len(rows):
        return ["there is no label: put images into a folder for each class, or name a table with --metadata"]
    return [
        "the folder of each image is its label" + (", the top folder its split" if SPLIT in rows.column_names else "")
    ]


def _others(listing: Listing) -> str:
    counts = [f"{count} {ending or 'without suffix'}" for ending, count in listing.ignored.most_common(LISTED)]
    return f"{listing.ignored.total():,} other files: {', '.join(counts)}" if counts else "and no other file"
