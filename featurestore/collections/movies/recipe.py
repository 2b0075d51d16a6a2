"""The collection type of the study: movies with their posters, where the number in a file's name is its ImgId."""

import pyarrow as pa

from featurestore.catalog.recipe import Collection, sql_of

PACKAGE = "featurestore.collections.movies"
MOVIES_SCHEMA = pa.schema(
    [
        pa.field("imdbId", pa.int32(), nullable=False),
        pa.field("ImdbLink", pa.string()),
        pa.field("Title", pa.string()),
        pa.field("IMDBScore", pa.float64()),
        pa.field("Genre", pa.string()),
        pa.field("Poster", pa.string()),
    ]
)
NINE = ("ImgId", "ImgName", "Title", "Genre1", "Genre2", "Genre3", "IMDBScore", "ImdbLink", "Poster")
VIEWS = ("collection", "genre_counts", "labeled", "multilabel", "problems")

MOVIES = Collection(
    name="movies",
    table="movies",
    schema=MOVIES_SCHEMA,
    shown=sql_of(PACKAGE, "movies"),
    views={name: sql_of(PACKAGE, name) for name in VIEWS},
    macros={"labeled_top": ("n", sql_of(PACKAGE, "labeled_top"))},
    reader=f"{PACKAGE}.ingest:read",
    numbering=f"{PACKAGE}.numbering:number",
    recognises=f"{PACKAGE}.ingest:recognises",
    label="Genre1",
    title="Title",
    key="imdbId",
    key_number=f"{PACKAGE}.keys:number_in_key",
    key_name=f"{PACKAGE}.keys:name_of",
    settings={"top_genres": 4},
    layouts={"study-embeddings": ("images_usable", ("ImgName",)), "study-labeled": ("labeled", NINE)},
)
