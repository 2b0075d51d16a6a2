"""Writes the dataset card of a bundle: Markdown for people, and the lines that `datasets.load_dataset` reads."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from featurestore import display, markdown
from featurestore.terminal import visible

SYNTHETIC = "**SYNTHETIC**: images or weights are made up; this says nothing about real images.\n\n"


def card(name: str, description: str, manifest: Mapping[str, Any], schema: pa.Schema, files: Sequence[str]) -> str:
    """The text of the card; names and values of ``manifest`` and ``schema`` are escaped.

    Parameters
    ----------
    files
        The data of the bundle, then the image of each row: each is a configuration of `load_dataset`.
    """
    rows = [
        (one["backbone"], str(one["embed_dim"]), one["revision"], one["weights"], one["source"], one["licence"])
        for one in manifest["backbones"]
    ]
    backbones = _table(("backbone", "values", "revision", "weights", "source", "licence of the weights"), rows)
    columns = _table(("column", "type"), [(field.name, _kind(field.type)) for field in schema])
    return (
        f"{_head(name, files, synthetic=manifest['synthetic'])}\n# {markdown.text(name)}\n\n"
        f"{SYNTHETIC if manifest['synthetic'] else ''}{markdown.text(description)}\n\n"
        f"{columns}\n\nMade by featurestore from the state `{manifest['state']}` of a store, with\n\n{backbones}\n\n"
        "The licence of images and labels is not known to the store: state it here before you share them. "
        "`bundle.lock` pins the data; this card and `croissant.json` may be edited.\n\n"
        "```python\n"
        "featurestore.open_bundle(DIR, lock=LOCK)          # checks every byte of the data\n"
        'datasets.load_dataset(DIR, split="train")         # Hugging Face\n'
        'mlcroissant.Dataset(f"{DIR}/croissant.json").records("features")\n'
        "```\n"
    )


def _head(name: str, files: Sequence[str], *, synthetic: bool) -> str:
    """The YAML in front; texts are JSON, which is YAML too."""
    configs = [("default", files[0]), *((file.partition(".")[0], file) for file in files[1:])]
    lines = ["---", f"pretty_name: {json.dumps(visible(name), ensure_ascii=False)}"]
    lines += [f"tags: {json.dumps(['embeddings', 'featurestore', *(['synthetic'] if synthetic else [])])}", "configs:"]
    for config, file in configs:
        lines += [f"- config_name: {config}", "  data_files:", "  - split: train", f"    path: {file}"]
    return "\n".join([*lines, "---", ""])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return markdown.table(header, [list(map(display.shortened, row)) for row in rows])


def _kind(kind: pa.DataType) -> str:
    return f"{kind.list_size} × {kind.value_type}" if pa.types.is_fixed_size_list(kind) else str(kind)
