"""A card for a stored head, and copies of a model folder with other members, as whoever makes them would."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.models import folder as models

CARD = {"backbone": "b", "revision": "r", "weights": ["w"], "sources": ["s"], "view": "v", "label": "l"} | {
    "classes": ["a", "b", "c"],
    "embed_dim": 60,
    "synthetic": True,
    "n_rows": 90,
    **dict.fromkeys(("head", "state_id", "settings", "chosen", "seed", "data_hash", "created"), "x"),
    "libraries": {},
}
Members = dict[str, bytes]


def edited(whole: Path, folder: Path, change: Callable[[Members], object]) -> Path:
    """A copy with other members, and a card with their checksum, as whoever makes it would."""
    with zipfile.ZipFile(whole / models.MODEL) as packed:
        members = {name: packed.read(name) for name in packed.namelist()}
    change(members)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for name, content in members.items():
            packed.writestr(name, content)
    card = json.loads((whole / models.CARD).read_text())
    card["sha256"] = {models.MODEL: hashlib.sha256(file.getvalue()).hexdigest()}
    folder.mkdir()
    (folder / models.MODEL).write_bytes(file.getvalue())
    (folder / models.CARD).write_text(json.dumps(card))
    return folder
