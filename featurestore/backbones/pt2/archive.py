"""Reads a ``.pt2`` file of torch.export: its graph as JSON and its tensors as raw bytes; pickles in it stay unread."""

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurestore.errors import BackboneError, reason

# Version of torch's format (torch/_export/serde/schema.py) that the interpreter knows; minor ones only add fields.
MAJOR = 8
LARGEST_JSON = 256 * 2**20
# Names of torch's number types by their code in the format.
TYPES = {1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64"} | {
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
}


@dataclass(frozen=True)
class Archive:
    """What a program needs to run.

    Parameters
    ----------
    program
        The record ``ExportedProgram`` of the format, as JSON has it.
    weights, constants
        Tensors by name.
    """

    program: Mapping[str, Any]
    weights: Mapping[str, Any]
    constants: Mapping[str, Any]


def read(path: Path, torch: Any) -> Archive:
    """The program in ``path``.

    Raises
    ------
    BackboneError
        When it is no such file, of another version, or holds anything that must be unpickled or compiled.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return _read(file, path, torch)
    except (
        OSError,
        zipfile.BadZipFile,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        IndexError,
        RuntimeError,
    ) as error:
        raise BackboneError(
            f"{str(path)!r} can't be read as a program of torch.export ({reason(error)[:120]}): "
            "save it again with torch.export.save"
        ) from error


def _read(file: zipfile.ZipFile, path: Path, torch: Any) -> Archive:
    names = file.namelist()
    if any(info.compress_type != zipfile.ZIP_STORED for info in file.infolist()):
        raise ValueError("it is compressed")  # torch never does; a small file could unpack to any size
    root = names[0].partition("/")[0]
    models = [name for name in names if name.startswith(f"{root}/models/") and name.endswith(".json")]
    if len(models) != 1:
        raise ValueError(f"it holds {len(models)} programs")
    if f"{root}/byteorder" in names and file.read(f"{root}/byteorder") != b"little":
        raise ValueError("its numbers are big-endian")
    program = _json(file, models[0])
    version = program["schema_version"]
    if version["major"] != MAJOR:
        raise BackboneError(
            f"{str(path)!r} has version {version['major']} of torch's format, expected {MAJOR}: "
            f"export it again with torch {torch.__version__.partition('+')[0]}"
        )
    model = Path(models[0]).stem
    folder = f"{root}/data"
    weights = _tensors(file, f"{folder}/weights/", f"{model}_weights_config.json", torch)
    return Archive(program, weights, _tensors(file, f"{folder}/constants/", f"{model}_constants_config.json", torch))


def _json(file: zipfile.ZipFile, name: str) -> dict[str, Any]:
    if file.getinfo(name).file_size > LARGEST_JSON:
        raise ValueError(f"{name} has more than {LARGEST_JSON // 2**20} MB")
    content: dict[str, Any] = json.loads(file.read(name))
    return content


def _tensors(file: zipfile.ZipFile, folder: str, index: str, torch: Any) -> dict[str, Any]:
    """The tensors that ``index`` lists; several may share the bytes of one record."""
    records: dict[str, Any] = {}
    found = {}
    for name, entry in _json(file, folder + index)["config"].items():
        place, meta = entry["path_name"], entry["tensor_meta"]
        if entry["use_pickle"] or meta is None:
            raise ValueError(f"{name[:60]} is stored as a pickle, which is never loaded")
        if place not in records:
            records[place] = file.read(folder + place)
        found[name] = _tensor(records[place], meta, torch)
    return found


def _tensor(content: bytes, meta: Mapping[str, Any], torch: Any) -> Any:
    sizes, strides = ([_whole(one) for one in meta[key]] for key in ("sizes", "strides"))
    kind = getattr(torch, TYPES[meta["dtype"]])
    if not content or not math.prod(sizes):
        return torch.zeros(sizes if not math.prod(sizes) else [0], dtype=kind)
    return torch.frombuffer(bytearray(content), dtype=kind).as_strided(sizes, strides, _whole(meta["storage_offset"]))


def _whole(number: Mapping[str, Any]) -> int:
    return int(number["as_int"])
