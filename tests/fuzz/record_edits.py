"""Edits of a file of a store, bundle, shard or model: of its bytes or its JSON, sealed as its author could have."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from featurestore.storage.records import CHECKSUM, to_record
from featurestore.storage.state import State

DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 7, 2**31, 2**63, 2**70, -(2**63), 0.5, 1e308, float("nan"), float("inf"), "", "x"),
    *("../../../../etc/passwd", "/etc/passwd", "a/b", "\0", "\ud800", "\x1b[31mred\n", "x" * 5000, "1" * 64, "0" * 32),
    *(
        "labeled",
        "images",
        "counting",
        "SELECT 1 AS ImgId",
        "Infinity",
        "2026-01-01T00:00:00",
        "s3://x/y",
        "part-x.parquet",
    ),
    *([], {}, [1], ["x"], {"x": "y"}, {"": None}, [None], [[1, 2], [3]], DEEP, list(range(2000))),
)
HOW = ("set", "delete", "double", "rename", "wrap", "swap", "empty")
# Fields of a state that its id does not cover.
RANDOM = {"format", "id", "store", "commit", "earlier", "name", "created_at", CHECKSUM}


@dataclass(frozen=True)
class Edit:
    """One change.

    Parameters
    ----------
    file
        Which file, counted around those that there are.
    how
        One of `HOW` of its JSON, or ``flip``, ``cut``, ``insert``, ``shorten``, ``replace`` of its bytes.
    place, other
        Where, counted around what there is.
    value
        What is set; for bytes, the bytes.
    sealed
        Whether checksums, and names that are checksums, are made to fit.
    """

    file: int
    how: str
    place: int
    other: int
    value: Any
    sealed: bool


def edits() -> st.SearchStrategy[list[Edit]]:
    """One edit, sometimes two or three."""
    number = st.integers(0, 2**20)
    of_json = st.builds(Edit, number, st.sampled_from(HOW), number, number, st.sampled_from(VALUES), st.booleans())
    of_bytes = st.builds(
        Edit,
        number,
        st.sampled_from(("flip", "cut", "insert", "shorten", "replace")),
        number,
        number,
        st.one_of(st.binary(max_size=64), st.sampled_from((b"[" * 5000, b"{}", b"null", b"PAR1", b'{"a": NaN}'))),
        st.booleans(),
    )
    return st.one_of(
        st.lists(of_json, min_size=1, max_size=1),
        st.lists(of_bytes, min_size=1, max_size=1),
        st.lists(st.one_of(of_json, of_bytes), min_size=2, max_size=3),
    )


def edited(content: bytes, edit: Edit) -> bytes:
    """The bytes after ``edit``; of what is no JSON, some byte of it is then changed."""
    if edit.how in HOW and content[:2] == b"PK":
        return _zip_edited(content, edit)
    if edit.how in HOW:
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            return _bytes_edited(content, "flip", edit.place, edit.other, b"")
        if isinstance(value, dict):
            value.pop(CHECKSUM, None) if edit.sealed and "commit" in value else None
        return json.dumps(_json_edited(value, edit), indent=1).encode()
    return _bytes_edited(content, edit.how, edit.place, edit.other, edit.value)


def _bytes_edited(content: bytes, how: str, place: int, other: int, value: bytes) -> bytes:
    start = place % (len(content) + 1)
    end = min(len(content), start + 1 + other % 64)
    return {
        "flip": content[:start]
        + bytes(byte ^ 1 << other % 8 for byte in content[start : start + 1])
        + content[start + 1 :],
        "cut": content[:start] + content[end:],
        "insert": content[:start] + value + content[start:],
        "shorten": content[:start],
        "replace": value,
    }[how]


def _json_edited(root: Any, edit: Edit) -> Any:
    """``root`` with one node of it changed."""
    nodes = list(_nodes(root))
    if not nodes:
        return edit.value
    holder, key = nodes[edit.place % len(nodes)]
    if edit.how == "set":
        holder[key] = edit.value
    elif edit.how == "delete":
        del holder[key]
    elif edit.how == "wrap":
        holder[key] = [holder[key]]
    elif edit.how == "empty":
        holder[key] = type(holder[key])()
    elif edit.how == "swap":
        holder2, key2 = nodes[edit.other % len(nodes)]
        holder[key], holder2[key2] = json.loads(json.dumps([holder2[key2], holder[key]]))
    elif isinstance(holder, list):  # double, or rename
        holder.insert(key, json.loads(json.dumps(holder[key])))
    elif edit.how == "rename":
        holder[str(edit.value)[:6000] if isinstance(edit.value, str) else f"{key}x"] = holder.pop(key)
    else:
        holder[f"{key}2"] = holder[key]
    return root


def _zip_edited(content: bytes, edit: Edit) -> bytes:
    """An archive in which one member is edited, as a model of skops is one."""
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(sink, "w") as new:
        names = old.namelist()
        # Every second edit is one of the JSON that says what is made of the arrays.
        chosen = "schema.json" if edit.file % 2 and "schema.json" in names else names[edit.file % len(names)]
        for name in names:
            new.writestr(name, edited(old.read(name), edit) if name == chosen else old.read(name))
    return sink.getvalue()


def _nodes(value: Any) -> Iterator[tuple[Any, Any]]:
    """What holds each node of the tree, and its key there."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _nodes(value[key])


def seal(root: Path, path: Path, content: bytes) -> None:
    """Write ``content`` in place of ``path``, a file of the store in ``root``, so that every checksum fits."""
    name = path.relative_to(root).as_posix()
    if name == "state.json" or name.startswith("snapshots/"):
        path.write_bytes(_sealed_state(content))
    elif name.startswith("manifests/"):
        _replace(root, path, f"{hashlib.sha256(content).hexdigest()}.json", content)
    elif path.name.startswith("part-") and "staging" not in name:
        _seal_part(root, path, content)
    else:
        path.write_bytes(content)


def _sealed_state(content: bytes) -> bytes:
    """A state or snapshot whose id and checksum fit, where it is a record at all."""
    try:
        fields = json.loads(content)
        fields.pop(CHECKSUM, None)
        known = {name: fields[name] for name in vars(State()) if name in fields and name not in RANDOM}
        digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
        return to_record(fields | {"id": f"{fields.get('number')}-{digest[:12]}"})
    except (ValueError, TypeError, AttributeError, RecursionError):
        return content


def _seal_part(root: Path, path: Path, content: bytes) -> None:
    digest, old = hashlib.sha256(content).hexdigest(), path.relative_to(root).as_posix()
    name = f"part-{digest[:32]}.parquet"
    path.unlink()
    path.with_name(name).write_bytes(content)
    for manifest in sorted(root.glob("manifests/*.json")):
        text = manifest.read_text("utf-8")
        if old in text:
            record = json.loads(text)
            for fields in record["parts"]:
                if fields[0] == old:
                    fields[0], fields[2], fields[3] = f"{old.rpartition('/')[0]}/{name}", len(content), digest
            written = (json.dumps(record, separators=(",", ":")) + "\n").encode()
            _replace(root, manifest, f"{hashlib.sha256(written).hexdigest()}.json", written)


def _replace(root: Path, manifest: Path, name: str, content: bytes) -> None:
    """Put a manifest in place of another; the states name it."""
    manifest.unlink()
    manifest.with_name(name).write_bytes(content)
    for path in [root / "state.json", *root.glob("snapshots/*.json")]:
        text = path.read_text("utf-8", "replace").replace(manifest.stem, name.removesuffix(".json"))
        path.write_bytes(_sealed_state(text.encode()))


def seal_bundle(root: Path, path: Path, content: bytes) -> None:
    """The same for a bundle: its manifest has the checksums of the data, and the lock that of the manifest."""
    path.write_bytes(content)
    manifest = root / "manifest.json"
    if path.suffix == ".parquet":
        text = json.loads(manifest.read_bytes())
        manifest.write_text(
            json.dumps(text | {"files": text["files"] | {path.name: hashlib.sha256(content).hexdigest()}})
        )
    if path.name != "bundle.lock":
        (root / "bundle.lock").write_text(f"sha256:{hashlib.sha256(manifest.read_bytes()).hexdigest()}\n")


def seal_shard(root: Path, path: Path, content: bytes) -> None:
    """The same for a shard: its receipt is named by its hash, and lists its parts by theirs."""
    digest = hashlib.sha256(content).hexdigest()
    path.unlink()
    if path.suffix == ".json":
        path.with_name(f"receipt-{digest[:32]}.json").write_bytes(content)
        return
    name = f"part-{digest[:32]}.parquet"
    path.with_name(name).write_bytes(content)
    for receipt in sorted(root.glob("receipt-*.json")):
        record = json.loads(receipt.read_bytes())
        for fields in record["parts"]:
            if path.name in fields[0]:
                fields[0], fields[2], fields[3] = fields[0].replace(path.name, name), len(content), digest
        seal_shard(root, receipt, json.dumps(record, indent=1).encode())


def seal_model(root: Path, path: Path, content: bytes) -> None:
    """The same for a model: its card has the checksum of the head."""
    path.write_bytes(content)
    if path.suffix == ".skops":
        card = json.loads((root / "card.json").read_bytes())
        (root / "card.json").write_text(json.dumps(card | {"sha256": {path.name: hashlib.sha256(content).hexdigest()}}))


SEALS = {"store": seal, "bundle": seal_bundle, "shard": seal_shard, "model": seal_model}


def apply(root: Path, found: list[Edit], sealer: Callable[[Path, Path, bytes], None]) -> bool:
    """Edit files of ``root``; whether any edit was sealed."""
    for edit in found:
        files = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".lock")
        if not files:
            break
        # One file in four is a record of JSON at least: there are more parts than records.
        records = [path for path in files if path.suffix == ".json"]
        path = (records if edit.place % 4 else files)[edit.file % len(records if edit.place % 4 else files)]
        content = edited(path.read_bytes(), edit)
        if not edit.sealed:
            path.write_bytes(content)
            continue
        try:
            sealer(root, path, content)
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            OSError,
        ):  # an earlier edit left nothing to seal with
            path.write_bytes(content)
    return any(edit.sealed for edit in found)
