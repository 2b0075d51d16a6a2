"""Finds a model's files and checks them before anything is loaded: no code, no pickle, nothing larger than it says."""

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurestore._optional import import_extra
from featurestore.backbones.hf.processor import FILE, NEWER_FILE, read_json
from featurestore.backbones.hints import file_or_folder
from featurestore.errors import BackboneError
from featurestore.files import file_hash, open_file, why

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?")
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
# The files of a hub's model that are used.
PATTERNS = ["*.json", "*.safetensors", "*.txt", "*.model"]
LARGEST_INDEX = 1 << 26
MOST_LAYERS = 1000
# The size of a header of safetensors, after its format.
LARGEST_HEADER = 100_000_000
LAYERS = ("num_hidden_layers", "depths", "num_layers", "num_block_repeats")


@dataclass(frozen=True)
class ModelFiles:
    """A checked folder: its ``config.json``, its weights, and the file of its image processor if there is one."""

    folder: Path
    config: dict[str, Any]
    weights: tuple[Path, ...]
    processor: Path | None

    @property
    def model_type(self) -> str:
        """The family, empty when the config names none."""
        value = self.config.get("model_type")
        return value if isinstance(value, str) else ""

    def hash(self) -> str:
        """``sha256:…`` of the config and of all files of weights."""
        files = {path.name: file_hash(path) for path in (self.folder / "config.json", *self.weights)}
        return f"sha256:{hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()}"

    def elements(self) -> int:
        """The number of values in all tensors, as the headers of the files say."""
        return sum(_elements(path) for path in self.weights)


def find(target: Path) -> Path:
    """The folder ``target``, or that of the hub's model of this name: from the hub's cache, else from the network.

    Raises
    ------
    BackboneError
        When there is neither.
    """
    if target.is_dir():
        return target
    name = target.as_posix()
    if target.is_file():
        hint = file_or_folder(target) or f"name its folder, with config.json and {SINGLE}"
        raise BackboneError(f"got the file {name!r} for hf:, expected a folder: {hint}")
    bring = f"where there is a network run `hf download {name} --local-dir DIR`, then use hf:DIR"
    if not HUB_NAME.fullmatch(name):
        raise BackboneError(
            f"there is no folder {name!r}: name one with config.json and {SINGLE}, or a model of the Hugging Face hub "
            "such as hf:openai/clip-vit-base-patch32"
        )
    hub: Any = import_extra("huggingface_hub", "torch", needed_by="a model of the Hugging Face hub")
    try:
        return Path(hub.snapshot_download(name, local_files_only=True, allow_patterns=PATTERNS))
    except (OSError, ValueError):
        offline = hub.constants.HF_HUB_OFFLINE
    reason = "HF_HUB_OFFLINE is set"
    if not offline:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Path(hub.snapshot_download(name, allow_patterns=PATTERNS, etag_timeout=5))
        except Exception as error:  # the hub's client raises errors of several packages
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
    raise BackboneError(
        f"there is no folder {name!r}, and no such model in the cache of the Hugging Face hub, which can't be asked "
        f"({reason}): {bring}"
    )


def look_into(folder: Path) -> ModelFiles:
    """The files of the model in ``folder``.

    Raises
    ------
    BackboneError
        When one is missing, is not what it should be, or asks for code of others.
    """
    if not (folder / "config.json").is_file():
        raise BackboneError(
            f"{str(folder)!r} has no config.json: name a folder as transformers' save_pretrained writes it, with "
            f"config.json, {FILE} and {SINGLE}"
        )
    config = read_json(folder / "config.json")
    _check_config(folder, config)
    weights = _weights(folder)
    processor = next((folder / name for name in (FILE, NEWER_FILE) if (folder / name).is_file()), None)
    return ModelFiles(folder, config, weights, processor)


def _check_config(folder: Path, config: dict[str, Any]) -> None:
    for name, value in _walk(config):
        if name == "auto_map":
            raise BackboneError(
                f"the model in {str(folder)!r} comes with Python code of its own (auto_map), which is not run: write a "
                "backbone of your own that loads it, or export it to ONNX"
            )
        if name == "transformers_weights":  # they are not those that are hashed
            raise BackboneError(f"config.json in {str(folder)!r} names another file of weights: remove {name!r}")
        if name == "quantization_config":
            raise BackboneError(f"the weights in {str(folder)!r} are quantised: name the model in float32 or float16")
        if name in ("use_timm_backbone", "use_pretrained_backbone") and value:
            raise BackboneError(f"the model in {str(folder)!r} needs the weights of another: export it to ONNX")
        if "attn_implementation" in name and value not in (None, "eager", "sdpa"):
            raise BackboneError(f"config.json in {str(folder)!r} asks for another attention: remove {name!r}")
        layers = value if isinstance(value, list) else [value]
        if name in LAYERS and not all(isinstance(one, int) and 0 <= one <= MOST_LAYERS for one in layers):
            raise BackboneError(f"config.json in {str(folder)!r} has an impossible {name}: get the files again")
    if config.get("model_type") in ("timm_wrapper", "timm_backbone"):
        raise BackboneError(
            f"the model in {str(folder)!r} needs the package timm: export it to ONNX or with torch.export, or write a "
            "backbone of your own that loads it"
        )


def _walk(value: Any, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every name and value within the objects of a config; it is JSON, and therefore not endlessly deep."""
    if depth > 20:
        raise BackboneError("config.json is nested too deeply: get the model's files again")
    if isinstance(value, dict):
        for name, one in value.items():
            yield name, one
            yield from _walk(one, depth + 1)


def _weights(folder: Path) -> tuple[Path, ...]:
    if (folder / "adapter_config.json").exists():
        raise BackboneError(f"{str(folder)!r} holds an adapter, no whole model: merge it into its model and save that")
    if (folder / SINGLE).is_file():
        return (folder / SINGLE,)
    if not (folder / INDEX).is_file():
        pickled = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        if pickled:
            raise BackboneError(
                f"{str(folder)!r} has its weights in {pickled[0]!r}, a pickle, which can run code and is not loaded: "
                f"convert it to {SINGLE}, with save_pretrained of a trusted copy"
            )
        raise BackboneError(f"{str(folder)!r} has no {SINGLE}: get the model's weights in this format")
    listed = read_json(folder / INDEX, limit=LARGEST_INDEX).get("weight_map")
    names = sorted({str(name) for name in listed.values()}) if isinstance(listed, dict) else []
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors") or not (folder / name).is_file():
            raise BackboneError(f"{INDEX} in {str(folder)!r} names {name[:80]!r}, which isn't there: get it again")
    if not names:
        raise BackboneError(f"{INDEX} in {str(folder)!r} names no files of weights: get it again")
    return tuple(folder / name for name in names)


def _elements(path: Path) -> int:
    try:
        with open_file(path) as file:
            size = int.from_bytes(file.read(8), "little")
            if not 2 <= size <= min(LARGEST_HEADER, os.fstat(file.fileno()).st_size - 8):
                raise ValueError("no header")
            header = json.loads(file.read(size))
        shapes = [one["shape"] for name, one in header.items() if name != "__metadata__"]
        return sum(math.prod(map(int, shape)) for shape in shapes)
    except OSError as error:
        raise BackboneError(f"{path} can't be read ({why(error)}): get it again") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BackboneError(f"{path} is not a file of safetensors: get it again") from error
