"""The records between `ingest` and the collection types: what a type gets to read, and what it returns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from featurestore.catalog.recipe import Setting
from featurestore.collections.listing import Listing
from featurestore.collections.object_folder import Source, source_of


@dataclass(frozen=True)
class KeptMetadata:
    """The rows of the metadata that a store has, and its settings."""

    rows: pa.Table
    settings: Mapping[str, Setting]


@dataclass(frozen=True)
class Request:
    """The arguments of an ingest.

    Parameters
    ----------
    images
        Folders on this machine or on an object store, or files that hold images.
    metadata
        The metadata file; None if there is none.
    key, labels
        The column that names the image, and those of the label; found by their content if not given.
    columns
        For each column that the collection type knows, the name that it has in the file.
    settings
        Settings of the collection type that are to be changed.
    stored
        The table of the metadata that the store has, when only the images are scanned again; then there is no file.
    kept
        What the store has, for an ingest that names no metadata.
    """

    images: Sequence[Source] = ()
    metadata: Path | None = None
    key: str | None = None
    labels: Sequence[str] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    follow_links: bool = False
    settings: Mapping[str, Setting] = field(default_factory=dict)
    stored: pa.Table | None = None
    kept: KeptMetadata | None = None


def named_sources(images: str | Path | Sequence[str | Path]) -> list[Source]:
    """The sources that a user has named, one or several; raises `InputError` for what is no path and no address."""
    return [source_of(place) for place in ([images] if isinstance(images, (str, Path)) else images)]


@dataclass(frozen=True)
class Rows:
    """The metadata of a collection as rows.

    Parameters
    ----------
    table
        The table of the collection type.
    settings
        Settings that follow from the data, such as the column of the label.
    steps
        The number of rows after each step, by its name in words.
    notes
        What was guessed or is missing, a sentence each.
    """

    table: pa.Table
    settings: Mapping[str, Setting] = field(default_factory=dict)
    steps: Mapping[str, int] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Numbered:
    """The table `images` with ids; ``renamed`` has the new name of each image that was recognised by its bytes."""

    images: pa.Table
    renamed: Mapping[str, str] = field(default_factory=dict)


class Reading(Protocol):
    """A metadata file that was read, before the images are known.

    Attributes
    ----------
    nested
        Whether images may lie in subfolders.
    names
        The names of images that have no file, known from the metadata alone.
    """

    nested: bool

    @property
    def names(self) -> Sequence[str]:
        """See the class."""

    def check(self, listing: Listing) -> None:
        """Refuse a listing from which no image could be used: raises `InputError`."""

    def rows(self, images: pa.Table, attached: pa.Table | None) -> Rows:
        """The rows, for a table `images` with ids.

        ``attached`` is what files that hold images say of them: ``ImgName`` and further columns.
        """
