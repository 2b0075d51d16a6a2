"""What installed packages say of the tables that they keep in stores, by the entry point group of these."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points

from featurestore.errors import reason

# A package that keeps tables of its own in stores names a mapping of their names to one line on each. Where a table
# has columns with lists of ImgIds, it is a mapping instead: `about` the line, `img_ids` the names of these columns.
ENTRY_POINTS = "featurestore.tables"


@dataclass(frozen=True)
class PackageTable:
    """A table of a package: one line about it, and its columns whose values are lists of ImgIds."""

    about: str
    img_ids: Sequence[str] = ()


def package_tables() -> dict[str, PackageTable]:
    """The tables of all installed packages by name."""
    return dict(_all())


def _all() -> Iterator[tuple[str, PackageTable]]:
    for point in entry_points(group=ENTRY_POINTS):
        try:
            tables = {name: _table(said) for name, said in dict(point.load()).items()}
        except Exception as error:  # the package may raise anything
            said = f"No description: {point.value} can't be imported ({reason(error)})."
            tables = {point.name: PackageTable(said)}
        yield from tables.items()


def _table(said: str | Mapping[str, object]) -> PackageTable:
    return PackageTable(said) if isinstance(said, str) else PackageTable(**said)  # type: ignore[arg-type]
