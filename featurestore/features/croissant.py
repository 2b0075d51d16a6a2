"""Describes the files of a bundle in Croissant 1.1 (JSON-LD), so that mlcroissant and dataset searches read them."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import pyarrow as pa

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
PARQUET = "application/x-parquet"
# What the short names below mean; part of every Croissant document, which is read without a network.
OF_CROISSANT = (
    *(
        "arrayShape",
        "citeAs",
        "column",
        "equivalentProperty",
        "extract",
        "field",
        "fileObject",
        "fileProperty",
        "fileSet",
        "format",
    ),
    *("includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet"),
    *("references", "regex", "repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in OF_CROISSANT},
}
TYPES: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_boolean, "sc:Boolean"),
    (pa.types.is_integer, "sc:Integer"),
    (pa.types.is_float32, "cr:Float32"),
    (pa.types.is_floating, "sc:Float"),
    (pa.types.is_string, "sc:Text"),
    (pa.types.is_large_string, "sc:Text"),
    (pa.types.is_date, "sc:Date"),
    (pa.types.is_timestamp, "sc:DateTime"),
)


def croissant(
    name: str, description: str, files: Mapping[str, tuple[pa.Schema, int, str]], *, synthetic: bool
) -> dict[str, Any]:
    """The document of Parquet ``files``, ready for JSON; each becomes a record set of the name without its suffix.

    Columns of types that Croissant has no name for (structs, maps, times of day, decimals) are not described. Nor are
    licence, citation, version and date of publication, which Croissant recommends: a store does not know them.

    Parameters
    ----------
    files
        By name the schema, the size in bytes and the SHA-256 of each.
    """
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "description": description,
        "keywords": ["embeddings", "featurestore", *(["SYNTHETIC"] if synthetic else [])],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file,
                "name": file,
                "contentUrl": file,
                "contentSize": f"{size} B",
                "encodingFormat": PARQUET,
                "sha256": sha256,
            }
            for file, (_, size, sha256) in files.items()
        ],
        "recordSet": [_record_set(file, schema) for file, (schema, _, _) in files.items()],
    }


def _record_set(file: str, schema: pa.Schema) -> dict[str, Any]:
    name = file.partition(".")[0]
    fields = [_field(name, file, column) for column in schema if _type(_element(column.type))]
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields}


def _field(record_set: str, file: str, column: pa.Field) -> dict[str, Any]:
    """A column; its name may have any characters, its id is part of an address."""
    element = _element(column.type)
    array = {} if element is column.type else {"isArray": True, "arrayShape": str(_length(column.type))}
    return {
        "@type": "cr:Field",
        "@id": f"{record_set}/{quote(column.name, safe='')}",
        "name": column.name,
        "dataType": _type(element),
        "source": {"fileObject": {"@id": file}, "extract": {"column": column.name}},
        **array,
    }


def _type(kind: pa.DataType) -> str | None:
    return next((name for matches, name in TYPES if matches(kind)), None)


def _element(kind: pa.DataType) -> pa.DataType:
    """The type of the elements of a list, else ``kind`` itself."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return kind.value_type if is_list else kind


def _length(kind: pa.DataType) -> int:
    """The length of each list, -1 where it differs."""
    return int(kind.list_size) if pa.types.is_fixed_size_list(kind) else -1
