"""Lists what the folders and files of a collection hold, without reading an image."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featurestore.collections.containers import datasets_files, is_container_name, is_datasets_folder
from featurestore.collections.formats import SUFFIXES
from featurestore.collections.object_folder import ObjectEntry, ObjectFolder, Source
from featurestore.collections.stored_paths import with_slashes
from featurestore.errors import InputError

# Folders that archive programs and notebooks leave behind; so are all whose name starts with a dot.
IGNORED_FOLDERS = frozenset({"__MACOSX"})
LINK_OUT = "a symbolic link that leads out of the folder: allow such links with --follow-links"


@dataclass
class Listing:
    """The image files below the folders ``sources``, in the order of their paths.

    Parameters
    ----------
    entries, numbers, files
        For each file or object: its entry, the place of its folder in ``sources``, and its path below that folder,
        with ``/``.
    containers
        The place in ``sources`` and the path below it, empty for the source itself, of each file that holds images.
    splits
        The part of a split that a file of images is, where its folder says so.
    ignored
        How many other files there are of each suffix.
    outside
        ``(n,)`` bool: which files are symbolic links that lead out of their folder, and must not be read.
    links
        The folders that are symbolic links and were not entered.
    """

    sources: Sequence[Source]
    entries: list["os.DirEntry[str] | ObjectEntry"] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    outside: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    containers: list[tuple[int, str]] = field(default_factory=list)
    splits: dict[tuple[int, str], str] = field(default_factory=dict)
    ignored: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)

    def container(self, number: int, file: str) -> Path:
        """The path of a file that holds images; none lies on an object store."""
        source = self.sources[number]
        assert isinstance(source, Path)
        return source / file


def list_images(sources: Sequence[Source], *, nested: bool, follow_links: bool = False) -> Listing:
    """List the image files in ``sources``: folders here or on an object store, or files that hold images.

    The files that hold images in a folder are those of the collection only if it holds no image files.

    Parameters
    ----------
    nested
        Whether to enter subfolders, except hidden ones.
    follow_links
        Whether to enter subfolders that are symbolic links, and to read files that are links to somewhere else; each
        folder is entered once.

    Raises
    ------
    InputError
        When a folder does not exist or can't be read, or lies in another one that is entered too.
    StoreError
        When a folder on an object store can't be listed.
    """
    listing = Listing(sources)
    if nested:
        _refuse_twice(sources)
    for number, source in enumerate(sources):
        if isinstance(source, ObjectFolder):
            _list_objects(listing, number, source, nested=nested)
        elif nested and source.is_file():
            listing.containers.append((number, ""))
        elif nested and is_datasets_folder(source):
            for path, split in datasets_files(source):
                file = path.relative_to(source).as_posix()
                listing.containers.append((number, file))
                listing.splits[number, file] = split
        else:
            _list_folder(listing, number, source, nested=nested, follow_links=follow_links)
    listing.outside = np.zeros(len(listing.entries), bool)
    for place, entry in enumerate(listing.entries if not follow_links else ()):
        source = sources[listing.numbers[place]]
        if isinstance(source, Path) and not isinstance(entry, ObjectEntry) and entry.is_symlink():
            listing.outside[place] = _leads_out(entry, source)
    return listing


def _leads_out(entry: "os.DirEntry[str]", folder: Path) -> bool:
    """Whether a symbolic link leads out of ``folder``."""
    real = os.path.realpath(folder).rstrip(os.sep) + os.sep
    return not os.path.realpath(entry.path).startswith(real)


def _refuse_twice(sources: Sequence[Source]) -> None:
    """Refuse sources of which one lies in another: its images would be in the collection twice."""
    for source in sources:
        outer = next((other for other in sources if _is_above(other, source)), None)
        if outer is not None:
            raise InputError(f"{str(source)!r} lies in {str(outer)!r}, which is named too: name one of them")


def _is_above(other: Source, source: Source) -> bool:
    if isinstance(source, ObjectFolder):
        return isinstance(other, ObjectFolder) and source.lies_in(other)
    return other in source.parents


def _list_objects(listing: Listing, number: int, source: ObjectFolder, *, nested: bool) -> None:
    found: list[ObjectEntry] = []
    containers = []
    for entry in source.entries():
        *folders, name = entry.key.split("/")
        if any(folder.startswith(".") or folder in IGNORED_FOLDERS or not nested for folder in folders):
            continue
        if is_image(name):
            found.append(entry)
        else:
            listing.ignored[suffix(name)] += 1
            containers += [entry.key] if nested and is_container_name(name) else []
    if containers and not found:
        raise InputError(
            f"{str(source)!r} holds no image file, but {len(containers):,} files such as {min(containers)!r}: files "
            "that hold images are only read from a folder, copy them to this machine"
        )
    found.sort(key=lambda entry: entry.key.split("/"))  # as folders are entered
    listing.entries += found
    listing.numbers += [number] * len(found)
    listing.files += [entry.key for entry in found]


def _list_folder(listing: Listing, number: int, source: Path, *, nested: bool, follow_links: bool) -> None:
    folder = str(source)
    skip = len(folder.rstrip(os.sep)) + 1
    before = len(listing.entries)
    containers = []
    for entry in _walk(folder, listing, set(), nested=nested, follow_links=follow_links):
        if is_image(entry.name):
            listing.entries.append(entry)
            listing.numbers.append(number)
            listing.files.append(with_slashes(entry.path[skip:]))
        else:
            listing.ignored[suffix(entry.name)] += 1
            if nested and is_container_name(entry.name):
                containers.append(entry)
    if len(listing.entries) == before:
        for entry in containers:
            if not follow_links and entry.is_symlink() and _leads_out(entry, source):
                raise InputError(f"{entry.path!r} is {LINK_OUT}")
            listing.containers.append((number, with_slashes(entry.path[skip:])))
            listing.ignored[suffix(entry.name)] -= 1


def image_names(listing: Listing) -> list[str]:
    """The ``ImgName`` of each file: its path in Unicode's form NFC; with several folders after the folder's own name.

    A file whose name in this form is taken keeps the form that it has; names that are not UTF-8 are escaped.
    """
    before = fronts(listing.sources)
    paths = [before[number] + file for number, file in zip(listing.numbers, listing.files, strict=True)]
    if all(map(str.isascii, paths)):
        return paths
    names, taken = [], set()
    for path in paths:
        name = path if path.isascii() else unicodedata.normalize("NFC", printable(path))
        if name in taken:
            name = printable(path)
        taken.add(name)
        names.append(name)
    return names


def is_image(name: str) -> bool:
    """Whether the suffix is that of an image; as `os.path.splitext` finds it, in a sixth of the time."""
    stem, _, ending = name.rpartition(".")
    return f".{ending}".lower() in SUFFIXES and bool(stem.strip("."))


def suffix(name: str) -> str:
    """The suffix of a file name in lower case, empty if there is none."""
    return os.path.splitext(name)[1].lower()


def printable(name: str) -> str:
    """A file name as text; bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def fronts(sources: Sequence[Source]) -> list[str]:
    """What stands before the names of each source: nothing for one; its own name for several, with a ``/``.

    If two have the same name, as many of the folders above as tell them apart are part of it.
    """
    if len(sources) == 1:
        return [""]
    depth = 1
    while len({source.parts[-depth:] for source in sources}) < len(sources):
        depth += 1
    return ["/".join(source.parts[-depth:]).strip("/") + "/" for source in sources]


def _walk(
    folder: str, listing: Listing, seen: set[str], *, nested: bool, follow_links: bool
) -> Iterator["os.DirEntry[str]"]:
    """The files below ``folder``, by path; folders are entered at their place in the order of names."""
    stack = [iter(_entries(folder))]
    seen.add(os.path.realpath(folder))
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif not _is_folder(entry, follow_links=follow_links):
            if entry.is_symlink() and nested and _is_folder(entry, follow_links=True):
                listing.links.append(printable(entry.path))
            else:
                yield entry
        elif nested and not entry.name.startswith(".") and entry.name not in IGNORED_FOLDERS:
            real = os.path.realpath(entry.path) if follow_links else entry.path
            if real not in seen:
                seen.add(real)
                stack.append(iter(_entries(entry.path)))


def _is_folder(entry: "os.DirEntry[str]", *, follow_links: bool) -> bool:
    """Whether it is a folder; a link that leads nowhere or in a circle is none."""
    try:
        return entry.is_dir(follow_symlinks=follow_links)
    except OSError:
        return False


def _entries(folder: str) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as iterator:
            return sorted(iterator, key=attrgetter("name"))
    except FileNotFoundError:
        raise InputError(f"there is no folder {folder!r}: name the folder of the images") from None
    except NotADirectoryError:
        raise InputError(f"{folder!r} is a file: name the folder of the images") from None
    except PermissionError:
        raise InputError(f"the folder {folder!r} can't be read (permission denied): make it readable") from None
    except OSError as error:  # such as a path of more than 4,096 bytes, or a link that leads in a circle
        raise InputError(
            f"the folder {folder!r} can't be read ({error.strerror}): move it, or name another folder"
        ) from error
