"""The Arrow schemas of the store's own tables: column names and types; no data."""

import pyarrow as pa

# ImgId is a 32-bit integer, and so is what joins it: both in one type.
MAX_ID = 2**31 - 1

# status: `ok` (a usable image), `broken` (quarantined, with the reason), `external` (known only from metadata or an
# imported embedding: there is no file, so `content_hash` is empty) or `gone` (there was one: it keeps its ImgId).
# Where the image lies: `file` is a path below the folder `source`, empty if the source is the file itself, or a key
# below the address `source` of a folder on an object store; `member` is empty if the file is the image, else the name
# of a member or the number of a row in it.
IMAGES = pa.schema(
    [
        pa.field("ImgId", pa.int32()),
        pa.field("ImgName", pa.string(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("mode", pa.string()),
        pa.field("phash", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("synthetic", pa.bool_(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("member", pa.string(), nullable=False),
    ]
)

BACKBONES = pa.schema(
    [
        pa.field("backbone", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("embed_dim", pa.int32(), nullable=False),
        pa.field("weights", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("licence", pa.string(), nullable=False),
        pa.field("synthetic", pa.bool_(), nullable=False),
        pa.field("preprocessing", pa.string(), nullable=False),  # JSON
        pa.field("options", pa.string(), nullable=False),  # JSON
        pa.field("libraries", pa.string(), nullable=False),  # JSON
    ]
)

# What computed vectors: library versions, precision, kind of machine; `at` is the time of the first computation.
# `extraction` is the hash of all fields but `at` and `backbone`.
EXTRACTIONS = pa.schema(
    [
        pa.field("extraction", pa.string(), nullable=False),
        pa.field("backbone", pa.string(), nullable=False),
        pa.field("revision", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("libraries", pa.string(), nullable=False),  # JSON
        pa.field("precision", pa.string(), nullable=False),
        pa.field("machine", pa.string(), nullable=False),
    ]
)

# The schema of the view of all revisions, whose vectors differ in length. A part has `embeddings_schema`.
EMBEDDINGS = pa.schema(
    [
        pa.field("ImgId", pa.int32(), nullable=False),
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("extraction", pa.string(), nullable=False),
        pa.field("embedding", pa.list_(pa.field("element", pa.float32(), nullable=False)), nullable=False),
        pa.field("backbone", pa.string()),
        pa.field("revision", pa.string()),
    ]
)

# Each row is a value of `column` of the view `collection` that a person has corrected for one image. `from` is the
# value as it was read then, null where there was none; `to` what is shown instead. Both are text, a list as its JSON.
# `undone` is when the correction ended, by an undo or by a later one; null while it is in force, which at most one is
# for an image and column.
CORRECTIONS = pa.schema(
    [
        pa.field("ImgId", pa.int32(), nullable=False),
        pa.field("column", pa.string(), nullable=False),
        pa.field("from", pa.string()),
        pa.field("to", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("undone", pa.timestamp("us", tz="UTC")),
    ]
)

CORE_TABLES = {
    "images": IMAGES,
    "backbones": BACKBONES,
    "extractions": EXTRACTIONS,
    "corrections": CORRECTIONS,
    "embeddings": EMBEDDINGS,
}


def embedding_type(embed_dim: int) -> pa.DataType:
    """Fixed-size list of ``embed_dim`` float32; non-nullable elements halve the time of a read."""
    return pa.list_(pa.field("element", pa.float32(), nullable=False), embed_dim)


def embeddings_schema(embed_dim: int) -> pa.Schema:
    """Schema of one Parquet part of embeddings of length ``embed_dim``."""
    return pa.schema(
        [
            EMBEDDINGS.field("ImgId"),
            EMBEDDINGS.field("content_hash"),
            EMBEDDINGS.field("extraction"),
            pa.field("embedding", embedding_type(embed_dim), nullable=False),
        ]
    )
