"""Small images for files that hold many, every reading of such a file, and random damage."""

import io
import json
import random
import re
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest
from PIL import Image

from featurestore.collections.containers import (
    Container,
    open_container,
)
from featurestore.errors import FeatureStoreError, ImageError


def picture(number: int, form: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (number % 256, number // 256, 0)).save(buffer, form)
    return buffer.getvalue()


def opened(path: Path) -> Container:
    container = open_container(path)
    assert container is not None
    return container


def declared(columns: dict[str, object], features: object) -> pa.Table:
    table = pa.table(columns)
    if features is None:
        return table
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def structs(contents: Iterable[bytes | None], paths: Iterable[str | None]) -> pa.Array:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": c, "path": p} for c, p in zip(contents, paths, strict=True)], kind)


def contents(container: Container) -> list[bytes | str]:
    """What `read_all` yields, checked against `rows` and `read`; the text of an error in place of bytes."""
    found = list(container.read_all())
    rows = container.rows()
    assert [member for member, _ in found] == rows.member
    assert len(rows.name) == len(set(rows.name)) == rows.columns.num_rows == len(found)
    for member, content in found:
        if isinstance(content, ImageError):
            with pytest.raises(ImageError, match=re.escape(str(content))):
                container.read(member)
        else:
            assert container.read(member) == content
    return [str(content) if isinstance(content, ImageError) else content for _, content in found]


def use(path: Path) -> None:
    """Read everything in a file that may be damaged: one sentence is the worst that may happen."""
    try:
        container = open_container(path)
        if container is not None:
            rows = container.rows()
            assert len(rows.member) == len(rows.name) == rows.columns.num_rows
            for _ in container.read_all():
                pass
            for member in rows.member[:3]:
                container.read(member)
    except FeatureStoreError:
        pass


def damage(content: bytes, seed: int) -> bytes:
    chance = random.Random(seed)
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 4, 30))):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed[: chance.randrange(len(changed))] if seed % 4 == 0 else changed)
