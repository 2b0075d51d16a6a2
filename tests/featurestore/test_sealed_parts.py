"""Parts and manifests of a stranger, with every checksum in order: one sentence, and no memory by what they claim."""

import base64
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fuzz.record_edits import seal
from support import CountingBackbone, manifest_of

from featurestore import FeatureStore
from featurestore.errors import FeatureStoreError
from featurestore.storage.parts import VECTORS
from featurestore.storage.schemas import embeddings_schema

VECTOR_PARTS, IMAGE_PARTS = "embeddings/*counting*/*/part-*.parquet", "images/part-*.parquet"
ACTIONS: dict[str, Callable[[FeatureStore], object]] = {
    "features": lambda store: store.features("counting", view="images_usable"),
    "similar": lambda store: store.similar(101, backbone="counting"),
    "quality": lambda store: store.quality(),
    "embed": lambda store: store.embed(CountingBackbone(name="other")),
}


@pytest.fixture
def edited(embedded_once: Path, tmp_path: Path) -> Path:
    return shutil.copytree(embedded_once, tmp_path / "edited")


def refused(root: Path, *actions: str) -> None:
    """Each of the ``actions`` fails in one sentence."""
    with FeatureStore(root) as store:
        for name in actions:
            with pytest.raises(FeatureStoreError) as caught:
                ACTIONS[name](store)
            assert str(caught.value).isprintable()


@pytest.mark.parametrize("length", [17, 2**31 - 1])
def test_a_length_that_the_bytes_cannot_hold(edited: Path, length: int) -> None:
    manifest = manifest_of(edited, "counting")
    record = json.loads(manifest.read_bytes())
    record["schema"] = base64.b64encode(embeddings_schema(length).serialize()).decode()
    for size in (record["parts"][0][2], 2**62):
        record["parts"][0][2] = size
        seal(edited, manifest_of(edited, "counting"), json.dumps(record).encode())
        refused(edited, "features", "similar", "quality")


@pytest.mark.parametrize("starts", [[2**63], [-5], [10**12], "abc"])
def test_places_of_vectors_that_are_none(edited: Path, starts: object) -> None:
    def moved(table: pa.Table, footer: dict[bytes, bytes]) -> bytes:
        sink = io.BytesIO()
        with pq.ParquetWriter(sink, table.schema, compression="none", use_dictionary=False) as writer:
            writer.write_table(table)
            record = json.loads(footer[VECTORS.encode()]) | {"starts": starts}
            writer.add_key_value_metadata({VECTORS: json.dumps(record)})
        return sink.getvalue()

    _edit(edited, VECTOR_PARTS, moved)
    refused(edited, "features", "similar")


@pytest.mark.parametrize(
    ("column", "actions"), [("ImgId", ("quality",)), ("content_hash", ("features", "embed")), ("file", ("embed",))]
)
def test_images_without_a_value_that_each_has(edited: Path, column: str, actions: tuple[str, ...]) -> None:
    def emptied(table: pa.Table, footer: dict[bytes, bytes]) -> bytes:
        place = table.schema.get_field_index(column)
        field = pa.field(column, table.schema.field(column).type)
        sink = io.BytesIO()
        pq.write_table(table.set_column(place, field, pa.nulls(len(table), field.type)), sink)
        return sink.getvalue()

    _edit(edited, IMAGE_PARTS, emptied)
    refused(edited, *actions)


def _edit(root: Path, places: str, edit: Callable[[pa.Table, Any], bytes]) -> None:
    part = min(root.glob(places))
    with pq.ParquetFile(part) as file:
        seal(root, part, edit(file.read(), file.metadata.metadata))
