"""Checks the bytes of a model in skops' format before skops reads them: nothing in them may take more than it says."""

import io
import math
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

# An archive may unpack to this many times its bytes, beyond the first 64 MB: more is made to fill the memory.
RATIO, FREE = 100, 64 * 2**20
MOST_MEMBERS = 100_000
SCHEMA = "schema.json"
HEADERS: dict[tuple[int, int], Callable[..., Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def check_archive(content: bytes) -> bytes:
    """Refuse an archive that unpacks to far more than its bytes, or whose arrays are not as long as they say.

    Returns
    -------
    What the model is made of, as skops writes it in JSON.

    Raises
    ------
    ValueError
        When it is one; also for Python objects, which only pickle reads.
    zipfile.BadZipFile, KeyError
        When it is no archive of skops.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        unpacked = sum(member.file_size for member in members)
        if len(members) > MOST_MEMBERS or len({member.filename for member in members}) < len(members):
            raise ValueError(f"it holds {len(members):,} members, some twice or more than {MOST_MEMBERS:,}")
        if unpacked > FREE + RATIO * len(content):
            raise ValueError(f"it grows from {len(content):,} to {unpacked:,} bytes, more than {RATIO} times as many")
        for member in members:
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    _check_array(file, member)
        return archive.read(SCHEMA)


def _check_array(file: Any, member: zipfile.ZipInfo) -> None:
    """Compare the header of an array with its bytes: NumPy takes the memory that it names before it reads any."""
    version = np.lib.format.read_magic(file)
    if version not in HEADERS:
        raise ValueError(f"an array of it is of the unknown version {version}")
    shape, _, dtype = HEADERS[version](file)
    if dtype.hasobject:
        raise ValueError("an array of it holds Python objects")
    expected = member.file_size - file.tell()
    if any(type(side) is not int or side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != expected:
        raise ValueError(f"an array of it has the shape {str(shape)[:80]} of {dtype}, in {expected:,} bytes")
