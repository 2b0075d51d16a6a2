"""Derives a file's format from the suffix of its name, and refuses a suffix of another format; it opens no file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from featurestore.errors import InputError

# A format and the suffixes of its files, the usual one first; a format without suffixes is a folder.
Suffixes = Mapping[str, Sequence[str]]
PAGE: Suffixes = {"html": (".html", ".htm")}


def format_of(path: Path, form: str | None, suffixes: Suffixes) -> str:
    """The format to write to ``path``: ``form`` if given, else by the suffix, else the first of ``suffixes``.

    Raises
    ------
    InputError
        When the suffix belongs to another format than ``form``, or to none. A name without a suffix fits every format.
    """
    name = path.name.lower()
    promised = [one for one, endings in suffixes.items() if name.endswith(tuple(endings))]
    is_folder = form is not None and not suffixes[form]
    fits = form in (None, *promised) if promised else not path.suffix or is_folder
    if fits:
        return form or next(iter(promised or suffixes))
    known = " or ".join(dict.fromkeys(ending for endings in suffixes.values() for ending in endings[:1]))
    if form is None:
        raise InputError(f"got {str(path)!r}, expected a name that ends with {known}")
    expected = f"a name that ends with {suffixes[form][0]}" if suffixes[form] else "the name of a folder"
    raise InputError(f"got {str(path)!r} for the format {form}, expected {expected}; the endings are {known}")
