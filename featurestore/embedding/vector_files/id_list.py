"""Reads files that list ids, to select rows by; no vectors."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featurestore.embedding.vector_files.arrays import read_list
from featurestore.embedding.vector_files.columns import refuse_twice
from featurestore.embedding.vector_files.imported import DAMAGE
from featurestore.embedding.vector_files.keys import numbers_of, texts, whole
from featurestore.embedding.vector_files.tables import csv_header, parquet_schema, read_csv, read_parquet
from featurestore.errors import InputError, reason
from featurestore.storage.schemas import MAX_ID

IdsOf = Callable[[Sequence[str]], NDArray[np.int64]]


def read_ids_file(file: Path, ids_of: IdsOf) -> NDArray[np.int64]:
    """The ids ``(n,)`` that a file lists, in its order.

    It is ``.npy``, or CSV, CSV.gz or Parquet with a column ImgId or ImgName; any other file has one id per line.

    Parameters
    ----------
    ids_of
        Finds the ids of images by their names.

    Raises
    ------
    InputError
        When it can't be read as one of these.
    """
    if not file.is_file():
        raise InputError(f"there is no file {str(file)!r}: name a list of ids")
    lower = file.name.lower()
    try:
        if lower.endswith((".csv", ".csv.gz")):
            name = _column(csv_header(file), file)
            return _ids(read_csv(file, text=[name], numbers=[])[name], name, file, ids_of)
        if lower.endswith(".parquet"):
            name = _column(parquet_schema(file).names, file)
            return _ids(read_parquet(file, [name])[name], name, file, ids_of)
        names = read_list(file).texts
        found = [number for name in names if (number := whole(name)) is not None and 0 <= number <= MAX_ID]
        return np.array(found, np.int64) if len(found) == len(names) else ids_of(names)
    except DAMAGE as error:
        raise InputError(
            f"{file} can't be read ({reason(error)[:200]}): expected ids in csv, csv.gz, parquet, npy or one per line"
        ) from error


def _column(names: list[str], file: Path) -> str:
    refuse_twice([name for name in names if name in ("ImgId", "ImgName")], file)
    found = next((name for name in ("ImgId", "ImgName") if name in names), None)
    if found is None:
        raise InputError(f"{file} has no column ImgId or ImgName: name a list of ids")
    return found


def _ids(column: pa.ChunkedArray, name: str, file: Path, ids_of: IdsOf) -> NDArray[np.int64]:
    found = texts(column, name, file)
    numbers = numbers_of(column, found, file) if name == "ImgId" else None
    return ids_of(found) if numbers is None else numbers
