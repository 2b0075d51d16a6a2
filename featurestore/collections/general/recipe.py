"""The collection type for everything that has no other: names in any form, labels from folders or a table."""

import pyarrow as pa

from featurestore.catalog.recipe import Collection, sql_of

PACKAGE = "featurestore.collections.general"
# Every row of the user's table, with the columns that it has there. `ImgId` is null for a row that no image has, or
# that is not used; `RowKey` is what names the image, `RowProblem` says what is wrong with the row, `RowDetail` more.
OWN_COLUMNS = pa.schema(
    [
        pa.field("ImgId", pa.int32()),
        pa.field("RowKey", pa.string()),
        pa.field("RowProblem", pa.string()),
        pa.field("RowDetail", pa.string()),
    ]
)
LABEL = "label"
# A setting: the labels that were asked for, where they must be found again.
ASKED = "asked"

GENERAL = Collection(
    name="general",
    table="metadata",
    schema=OWN_COLUMNS,
    shown=sql_of(PACKAGE, "metadata"),
    views={name: sql_of(PACKAGE, name) for name in ("collection", "labeled", "problems")},
    reader=f"{PACKAGE}.ingest:read",
    numbering=f"{PACKAGE}.numbering:number",
    label=LABEL,
    title="ImgName",
    key="ImgId",
    settings={LABEL: LABEL, ASKED: []},
)
