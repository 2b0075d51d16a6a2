"""The number of a film in what other tools call its poster: a path, a file name, an id of IMDb; it reads no file."""

from featurestore.collections.movies.ids import movie_number


def number_in_key(key: str) -> int | None:
    """The ImgId in a key such as ``posters/1.jpg``, ``C:\\posters\\1.jpg``, ``tt0000001`` or ``1.0``.

    None if there is no number from 0 to 2,147,483,647.
    """
    stem, _, suffix = key.replace("\\", "/").rpartition("/")[2].strip().partition(".")
    is_fraction = suffix.isdecimal() and bool(suffix.strip("0"))  # 1.5 is not the file 1, but 1.0 is the number 1
    return None if is_fraction or "." in suffix else movie_number(stem)


def name_of(key: str, number: int) -> str:
    """The file name of the poster that ``key`` names: without folders, and ``NUMBER.jpg`` if it has no suffix."""
    name = key.replace("\\", "/").rpartition("/")[2].strip()
    suffix = name.rpartition(".")[2] if "." in name else ""
    return f"{number}.jpg" if not suffix or suffix.isdecimal() else name
