"""The Arrow schemas of the store's own tables: column names and types; no data."""

import pyarrow as pa

# ImgId and imdbId are 32-bit integers, so that joins meet in one type.
MAX_ID = 2**31 - 1

MOVIES = pa.schema(
    [
        pa.field("imdbId", pa.int32(), nullable=False),
        pa.field("ImdbLink", pa.string()),
        pa.field("Title", pa.string()),
        pa.field("IMDBScore", pa.float64()),
        pa.field("Genre", pa.string()),
        pa.field("Poster", pa.string()),
    ]
)

# status: `ok` (a usable file), `broken` (quarantined, with the reason) or `external` (known only from an
# imported embedding: there is no file, so `content_hash` is empty).
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
        pa.field("folder", pa.string(), nullable=False),
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

CORE_TABLES = {
    "movies": MOVIES,
    "images": IMAGES,
    "backbones": BACKBONES,
    "extractions": EXTRACTIONS,
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
