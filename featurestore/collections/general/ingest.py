"""Reads the metadata of any collection: a table of any kind, the tables of an imagefolder, or the names of folders."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.catalog.recipe import Setting
from featurestore.collections.general import table_rows
from featurestore.collections.general.folders import LEVEL, FolderColumns, asked_level, folder_columns
from featurestore.collections.general.recipe import ASKED, GENERAL, LABEL, OWN_COLUMNS
from featurestore.collections.general.sidecars import find_tables
from featurestore.collections.listing import Listing
from featurestore.collections.reading import KeptMetadata, Request, Rows
from featurestore.collections.tables import ReadTable, free_name, has_column, read_table, reserve
from featurestore.errors import InputError, MetadataError

# A setting: whether the metadata came from folders, from a table, or from the files that hold the images.
ORIGIN, FOLDERS, TABLE, MEMBERS = "origin", "folders", "table", "members"
TITLE = "title"
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
        filled = {*listing.numbers, *(number for number, _ in listing.containers)}
        for number, source in enumerate(listing.sources):
            if number not in filled:
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

    def rows(self, images: pa.Table, attached: pa.Table | None) -> Rows:
        """See `Reading.rows`."""
        known = images.filter(pc.invert(pc.is_in(images["status"], value_set=pa.array(["gone", "forgotten"]))))
        asked = self.request.labels
        if self.request.stored is not None:
            return self._again(known, attached)
        if self.table is not None:
            found = table_rows.join(self.table, known, key=self.key, labels=asked)
            return _completed(found, known, attached, origin=TABLE, steps={"rows read": len(self.table.rows)})
        if self.request.kept is not None and self._keeps():
            return _kept(self.request.kept, known)
        if attached is not None and asked_level(asked) is None:
            return _completed(_of_attached(attached, known, asked), known, None, origin=MEMBERS, asked=asked)
        rows = _rows_of_folders(known, asked)
        return Rows(rows, _settings(FOLDERS, LABEL, asked=asked), {}, _folder_notes(rows))

    def _keeps(self) -> bool:
        """Whether the rows of an earlier ingest's table stay: this one names no table, and asks for no label."""
        assert self.request.kept is not None
        return self.request.kept.settings.get(ORIGIN) == TABLE and not self.request.labels

    def _again(self, images: pa.Table, attached: pa.Table | None) -> Rows:
        """The stored rows, with those of images that came since."""
        assert self.request.stored is not None
        settings = self.request.settings
        asked = GENERAL.complete(settings)[ASKED]
        assert not isinstance(asked, (int, str))  # `complete` has checked it
        if settings.get(ORIGIN) == FOLDERS:
            return Rows(_rows_of_folders(images, asked))
        if settings.get(ORIGIN) == MEMBERS and attached is not None:
            return _completed(_of_attached(attached, images, asked), images, None, origin=MEMBERS, asked=asked)
        return Rows(table_rows.join_again(self.request.stored, images))


def _kept(kept: KeptMetadata, images: pa.Table) -> Rows:
    """The rows of the table that an earlier ingest has read, with the images that came since."""
    note = (
        f"the table of the last ingest is kept, {len(kept.rows):,} rows: name one with --metadata to replace it, or "
        f"use --label {LEVEL}-1 to take the folders as labels"
    )
    settings = {name: kept.settings[name] for name in (ORIGIN, LABEL, TITLE, ASKED) if name in kept.settings}
    return Rows(table_rows.join_again(kept.rows, images), settings, notes=[note])


def _of_attached(attached: pa.Table, images: pa.Table, asked: Sequence[str]) -> table_rows.JoinedRows:
    """The rows that files of images have beside them: each is of the image with its name."""
    reserved = reserve(attached.drop_columns(["ImgName"]))
    keys = attached["ImgName"].to_pylist()
    return table_rows.join(ReadTable(reserved.rows, reserved.notes), images, key=keys, labels=asked)


def _completed(
    found: table_rows.JoinedRows,
    images: pa.Table,
    attached: pa.Table | None,
    *,
    origin: str,
    steps: Mapping[str, int] = {},
    asked: Sequence[str] = (),
) -> Rows:
    """The joined rows, with what the files of images and the folders say where the table does not."""
    table, label, notes = found.rows, found.label, list(found.notes)
    if attached is not None:
        names = attached["ImgName"].combine_chunks()
        places = pc.index_in(images["ImgName"], value_set=names)
        said = reserve(attached.drop_columns(["ImgName"])).rows
        for name in (name for name in said.column_names if not has_column(table, name)):
            table = _with_column(table, name, images, said[name].take(places.combine_chunks()))
    folders = folder_columns(images["ImgName"].to_pylist())
    if not has_column(table, SPLIT) and folders.splits is not None:
        table = _with_column(table, SPLIT, images, pa.array(folders.splits, pa.string()))
    if label is None:
        by_folder = len({name for name in folders.labels if name}) > 1 and not has_column(table, LABEL)
        labels = pa.array(folders.labels, pa.string()) if by_folder else pa.nulls(len(images), pa.string())
        label = free_name(LABEL, table.column_names)
        table = _with_column(table, label, images, labels)
        notes.append(
            f"the table has no label: the folder of each image is its label, in the column {label!r}"
            if by_folder
            else "there is no label: name its column with --label"
        )
    return Rows(table, _settings(origin, label, found.title, asked=asked), steps, notes)


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
        if not len(read.rows):
            raise MetadataError(f"{str(request.metadata)!r} has no rows: expected one for each image")
        reserved = reserve(read.rows)
        names = dict(zip(read.rows.column_names, reserved.rows.column_names, strict=True))
        request = replace(request, labels=[names.get(label, label) for label in request.labels])
        key = request.key if request.key is None else names.get(request.key, request.key)
        return GeneralReading(request, ReadTable(reserved.rows, (*read.notes, *reserved.notes)), key)
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


def _with_column(table: pa.Table, name: str, images: pa.Table, values: pa.Array | pa.ChunkedArray) -> pa.Table:
    """``table`` with a column of ``values``, one for each of ``images``; null for rows without an image."""
    places = pc.index_in(table["ImgId"], value_set=images["ImgId"].combine_chunks(), skip_nulls=True)
    return table.append_column(name, values.take(places.combine_chunks()))


def _settings(origin: str, label: str, title: str | None = None, *, asked: Sequence[str] = ()) -> Mapping[str, Setting]:
    """All settings, so that none of an earlier ingest stays."""
    return {ORIGIN: origin, LABEL: label, TITLE: title or GENERAL.title, ASKED: list(asked)}


def _folder_notes(rows: pa.Table) -> list[str]:
    if not rows[LABEL].null_count < len(rows):
        return ["there is no label: put images into a folder for each class, or name a table with --metadata"]
    return [
        "the folder of each image is its label" + (", the top folder its split" if SPLIT in rows.column_names else "")
    ]


def _others(listing: Listing) -> str:
    counts = [f"{count} {ending or 'without suffix'}" for ending, count in listing.ignored.most_common(LISTED)]
    return f"{listing.ignored.total():,} other files: {', '.join(counts)}" if counts else "and no other file"
