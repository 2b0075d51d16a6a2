"""The file ``backbone.json`` of a converted backbone: written, and read from a folder that nobody vouches for."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from featurestore.backbones.preprocessing import Preprocessing, changed
from featurestore.backbones.records import NAME
from featurestore.errors import BackboneError
from featurestore.files import read_file, why

CARD = "backbone.json"
FORMAT = 1
LARGEST_CARD = 1 << 20
LONGEST_TEXT = 500
LARGEST_DIM = 1 << 20
FILES = {"fp32": ("model.xml", "model.bin"), "int8": ("model.tflite",)}


@dataclass(frozen=True)
class ConversionCard:
    """What is known of a converted backbone.

    Parameters
    ----------
    precision
        ``fp32``: OpenVINO's model.xml and model.bin; ``int8``: LiteRT's model.tflite.
    name, embed_dim, weights, options, synthetic, licence
        As in the spec of the converted backbone; in fp32 these are the source's, so that the revision is too.
    source
        What was converted, for display.
    preprocessing
        All fields that differ from the defaults, and those of the identity.
    files
        SHA-256 of each file.
    converted_by
        The version of each library that converted.
    checked_on, images
        Which images, and how many, were embedded by both.
    largest_difference
        The largest difference to the source, as a share of the largest value.
    mean_cosine
        The mean cosine to the source.
    """

    precision: Literal["fp32", "int8"]
    name: str
    embed_dim: int
    weights: str
    source: str
    options: Mapping[str, str]
    synthetic: bool
    licence: str
    preprocessing: Mapping[str, Any]
    files: Mapping[str, str]
    converted_by: Mapping[str, str]
    checked_on: str
    images: int
    largest_difference: float
    mean_cosine: float
    format: int = FORMAT

    def how(self) -> Preprocessing:
        """The preprocessing; raises `BackboneError` when a field is not possible."""
        return changed(Preprocessing(), self.preprocessing)


def card_bytes(card: ConversionCard) -> bytes:
    """The content of the file."""
    return (json.dumps(asdict(card), indent=1, sort_keys=True) + "\n").encode()


def read_card(folder: Path) -> ConversionCard:
    """Read and check every field; the files are not looked at.

    Raises
    ------
    BackboneError
        When there is none, or a field is missing or not possible.
    """
    path = folder / CARD
    try:
        values = json.loads(read_file(path, limit=LARGEST_CARD), parse_constant=_no_constant)
    except FileNotFoundError as error:
        raise BackboneError(
            f"{str(folder)!r} has no {CARD}: name a folder that `featurestore backbone convert` made"
        ) from error
    except OSError as error:
        raise _refused(path, f"it can't be read, {why(error)}") from error
    except (ValueError, RecursionError) as error:
        raise _refused(path, "it is not JSON") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        found = values.get("format") if isinstance(values, dict) else None
        raise _refused(path, f"its format is {str(found)[:20]}, expected {FORMAT}")
    for field in fields(ConversionCard):
        if field.name not in values or not CHECKS[field.name](values[field.name]):
            raise _refused(path, f"its field {field.name!r} is {str(values.get(field.name))[:60]!r}")
    if set(values["files"]) != set(FILES[values["precision"]]):
        raise _refused(path, f"its files are {', '.join(values['files'])[:100]}")
    card = ConversionCard(**{field.name: values[field.name] for field in fields(ConversionCard)})
    try:
        card.how()
    except BackboneError as error:
        raise _refused(path, str(error)) from error
    return card


def _no_constant(text: str) -> float:
    raise ValueError(text)


def _text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def _texts(value: object) -> bool:
    return isinstance(value, dict) and len(value) <= 20 and all(_text(part) for pair in value.items() for part in pair)


def _whole(value: object, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


CHECKS: dict[str, Callable[[Any], bool]] = {
    "format": lambda value: value == FORMAT,
    "precision": lambda value: isinstance(value, str) and value in FILES,
    "name": lambda value: isinstance(value, str) and NAME.fullmatch(value) is not None,
    "embed_dim": lambda value: _whole(value, 1, LARGEST_DIM),
    "weights": lambda value: isinstance(value, str) and value.startswith("sha256:") and _hash(value[7:]),
    "source": _text,
    "options": _texts,
    "synthetic": lambda value: isinstance(value, bool),
    "licence": _text,
    "preprocessing": lambda value: isinstance(value, dict) and all(map(_text, value)),
    "files": lambda value: _texts(value) and all(map(_hash, value.values())),
    "converted_by": _texts,
    "checked_on": _text,
    "images": lambda value: _whole(value, 1, 1 << 30),
    "largest_difference": lambda value: isinstance(value, float) and 0 <= value < float("inf"),
    "mean_cosine": lambda value: isinstance(value, float) and -1.001 <= value <= 1.001,
}


def _refused(path: Path, what: str) -> BackboneError:
    return BackboneError(f"{str(path)!r} is not as `featurestore backbone convert` writes it ({what}): convert again")
