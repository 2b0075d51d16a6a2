"""What the user may have meant by a reference that names no backbone: a sentence with the one that would work."""

import re
from pathlib import Path

# The scheme for a file by its suffix, and what such a file is.
FILES = {
    ".onnx": ("onnx", "an ONNX file"),
    ".pt2": ("torch", "a program of torch.export"),
    ".tflite": ("tflite", "a TensorFlow Lite file"),
}
KERAS = (".keras", ".h5", ".hdf5")
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# Libraries that come as plugins.
PLUGINS = ("timm", "open_clip")


def instead(reference: str) -> str:
    """The sentence for ``reference`` as the user typed it; empty when nothing comes to mind."""
    scheme, colon, rest = reference.partition(":")
    if scheme in PLUGINS and colon:
        return (
            f"bring a model of {scheme} by a plugin of some 20 lines (entry point featurestore.backbones, see the "
            "README), or export it and name onnx:FILE or torch:FILE.pt2"
        )
    text = rest if colon and rest else reference
    path = Path(text)
    return _file(path) or (_folder(path) if path.is_dir() else _hub(text))


def folder_hint(path: Path) -> str:
    """How to name the model in the folder ``path``, as the end of another sentence; empty when there is none."""
    found = _folder(path)
    return f"; {found}" if found else ""


def _file(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in FILES:
        scheme, kind = FILES[suffix]
        return f"name {kind} as {scheme}:{path}"
    if suffix in KERAS:
        return f"convert a Keras model once with `featurestore backbone convert {path} DIR`"
    if suffix == ".py":
        return f"name a Python file as --backbone-file {path}"
    if suffix in PICKLES:
        return (
            "a pickle is never loaded: in Python, save the model with torch.export.save and name it as torch:FILE.pt2"
        )
    if suffix == ".safetensors":
        return f"name the folder with its config.json as hf:{path.parent}"
    return f"name a SavedModel by its folder as savedmodel:{path.parent}" if suffix == ".pb" else ""


def _folder(path: Path) -> str:
    if (path / "saved_model.pb").is_file():
        return f"name a SavedModel as savedmodel:{path}"
    if (path / "config.json").is_file():
        return f"name a folder of transformers as hf:{path}"
    for suffix, (scheme, kind) in FILES.items():
        files = sorted(path.glob(f"*{suffix}"))
        if files:
            return f"name {kind} as {scheme}:{files[0]}"
    return ""


def _hub(text: str) -> str:
    return f"name a model of the hub as hf:{text}" if HUB_NAME.fullmatch(text) else ""
