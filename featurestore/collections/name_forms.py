"""The forms in which a key and the name of an image are compared, from strict to loose; it compares nothing itself."""

import unicodedata
from urllib.parse import unquote_to_bytes

from featurestore.collections.formats import SUFFIXES


def cleaned(path: str) -> str:
    """NFC, with ``/`` between the components, no space at their ends, and no empty component or ``.``."""
    if not path.isascii():
        path = unicodedata.normalize("NFC", path)
    components = [component.strip() for component in path.replace("\\", "/").split("/")]
    return "/".join([component for component in components if component not in ("", ".")])


def without_extension(path: str) -> str:
    """``path`` without the suffix of an image format; any other suffix belongs to the name."""
    stem, dot, suffix = path.rpartition(".")
    if not dot or dot + suffix.casefold() not in SUFFIXES or not stem or stem.endswith("/"):
        return path
    return stem.rstrip()


def without_zeros(path: str) -> str:
    """``path`` with a file name that is a whole number (``007``, ``7.0``) in its shortest form."""
    folders, slash, name = path.rpartition("/")
    digits, point, fraction = name.partition(".")
    if not (digits.isascii() and digits.isdigit()) or (point and fraction.strip("0")):
        return path
    return folders + slash + (digits.lstrip("0") or "0")


def decoded(path: str) -> str:
    """``path`` with ``%20`` and the like as characters."""
    if "%" not in path:
        return path
    # Bytes that are not UTF-8 stay different from each other, and so never make two names equal.
    text = unquote_to_bytes(path.encode(errors="surrogatepass")).decode(errors="surrogateescape")
    return without_zeros(cleaned(text))


def folded(path: str) -> str:
    """``path`` without the difference between upper and lower case."""
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFC", path.casefold())


def forms(path: str) -> tuple[str, str, str, str]:
    """``path`` cleaned, then also without its extension, without zeros, and decoded.

    Each form is made from the one before: paths that are equal in one form are equal in all that follow.
    """
    clean = cleaned(path)
    stem = without_extension(clean)
    number = without_zeros(stem)
    return clean, stem, number, decoded(number)


def upwards(path: str) -> str:
    """The components from the file name up, each followed by ``/``: ``1.jpg/a/`` for ``a/1.jpg``.

    Common trailing components of two paths are a common start of these, which a sorted list finds.
    """
    return "/".join(reversed(path.split("/"))) + "/" if "/" in path else path + "/"


def loosest_name(form: str) -> str:
    """The file name of a path in its last form, without case: equal for any two paths that can be matched."""
    return folded(form[form.rfind("/") + 1 :])
