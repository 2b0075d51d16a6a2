"""What the machine can do at best: the same bytes read, the same products computed, nothing else."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

Options = dict[str, Any]


def digest(X: Any) -> list[float]:
    """As that of `ours`."""
    return [*X.shape, round(float(np.asarray(X[::997, ::131], np.float64).sum()), 3)]


def np_load(options: Options) -> Callable[[], Any]:
    """The matrix from an ``.npy`` file."""

    def once() -> Any:
        X = np.load(options["matrix"])
        return lambda: digest(X)

    return once


def mapped_copy(options: Options) -> Callable[[], Any]:
    """The matrix copied out of a memory map that was made before."""
    mapped = np.load(options["matrix"], mmap_mode="r")

    def once() -> Any:
        X = np.array(mapped)
        return lambda: digest(X)

    return once


def mapped_rows(options: Options) -> Callable[[], Any]:
    """The rows of ``ids`` out of a memory map made each time: nothing is looked up or checked."""
    rows = np.load(options["ids"]) - 1

    def once() -> Any:
        X = np.load(options["matrix"], mmap_mode="r")[rows]
        return lambda: digest(X)

    return once


def mapped_sum(options: Options) -> Callable[[], Any]:
    """Every value of a memory map read once, nothing copied."""
    mapped = np.load(options["matrix"], mmap_mode="r")
    return lambda: float(np.add.reduce(mapped, axis=None)) > 0


def product(options: Options) -> Callable[[], Any]:
    """The matrix product alone: no ranking, no lengths."""
    X, queries = np.load(options["matrix"]), np.load(options["queries"])
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    one = queries[0]
    once = (lambda: X @ one) if len(queries) == 1 else (lambda: queries @ X.T)
    nearest = np.argsort(-(X @ one))[:10] + 1

    def run() -> Any:
        once()
        return nearest.tolist

    return run


def listing(options: Options) -> Callable[[], Any]:
    """The names in a folder, and with ``stat`` size and times of each, as ``ls -l`` asks for them."""

    def once() -> Any:
        with os.scandir(options["folder"]) as entries:
            if options["stat"]:
                return len([entry.stat(follow_symlinks=False) for entry in entries])
            return len(sorted(entry.name for entry in entries))

    return once


def forward(options: Options) -> Callable[[], Any]:
    """The bare batched forward pass: decoded, scaled pixels in memory, vectors kept in memory."""
    import tensorflow as tf

    model = tf.saved_model.load(options["model"])
    function = tf.function(
        lambda images: model(images), input_signature=[tf.TensorSpec([None, 224, 224, 3], tf.float32)]
    )
    images = pixels(options["posters"])
    function(images[:32])

    def once() -> Any:
        found = [function(images[start : start + 32]).numpy() for start in range(0, len(images), 32)]
        return {"images": sum(map(len, found))}

    return once


def forward_openvino(options: Options) -> Callable[[], Any]:
    """The bare forward pass of OpenVINO in float32 on pixels in memory: batches, or an image in each of its streams."""
    import openvino

    core, size = openvino.Core(), options["batch"]
    model = core.read_model(options["file"])
    model.reshape([size, 224, 224, 3])
    images = pixels(options["posters"])
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "THROUGHPUT" if size == 1 else "LATENCY",
        **({"NUM_STREAMS": str(os.cpu_count())} if size == 1 else {}),
    }
    queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", settings), 0 if size == 1 else 1)
    found: dict[int, Any] = {}
    queue.set_callback(lambda request, start: found.update({start: request.get_output_tensor(0).data.copy()}))

    def once() -> Any:
        found.clear()
        for start in range(0, len(images) - size + 1, size):
            queue.start_async({0: images[start : start + size]}, start)
        queue.wait_all()
        return {"images": sum(map(len, found.values()))}

    return once


def pixels(posters: list[str]) -> Any:
    """Posters as the models want them, ``(n, 224, 224, 3)`` float32 in [0, 1]."""
    from PIL import Image

    def read(path: str) -> Any:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return np.stack(list(pool.map(read, posters))).astype(np.float32) / np.float32(255)


def decoding(options: Options) -> Callable[[], Any]:
    """Every file of a folder read and decoded to RGB on all cores: the least that checking images can cost."""
    from PIL import Image

    def read(path: Path) -> int:
        with Image.open(path) as image:
            return image.convert("RGB").width

    def once() -> Any:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return sum(1 for _ in pool.map(read, Path(options["folder"]).iterdir()))

    return once


def feeding(options: Options) -> Callable[[], Any]:
    """Every file of a folder read, decoded and resized to 224 × 224 on all cores; nothing is checked or kept.

    With ``draft`` a JPEG is decoded at the smallest scale that is not below twice that size.
    """
    from PIL import Image

    def read(path: Path) -> int:
        with Image.open(path) as image:
            if options["draft"]:
                image.draft(None, (448, 448))
            return image.convert("RGB").resize((224, 224), Image.Resampling.BILINEAR).width

    def once() -> Any:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return {"images": sum(1 for _ in pool.map(read, Path(options["folder"]).iterdir()))}

    return once


def walking(options: Options) -> Callable[[], Any]:
    """The names in a folder and all below it, with size and times of each file."""

    def count(folder: str) -> int:
        found = 0
        with os.scandir(folder) as entries:
            for entry in entries:
                found += count(entry.path) if entry.is_dir() else entry.stat().st_mtime_ns > 0
        return found

    return lambda: count(options["folder"])


def checking(options: Options) -> Callable[[], Any]:
    """Every file below a folder read, hashed and decoded to RGB once on all cores, some files a task."""
    import hashlib
    import io

    from PIL import Image

    def read(paths: list[str]) -> int:
        for path in paths:
            with open(path, "rb") as file:
                content = file.read()
            hashlib.sha256(content).hexdigest()
            with Image.open(io.BytesIO(content)) as image:
                image.convert("RGB")
        return len(paths)

    def once() -> Any:
        files = [os.path.join(folder, name) for folder, _, names in os.walk(options["folder"]) for name in names]
        tasks = [files[start : start + 16] for start in range(0, len(files), 16)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return sum(pool.map(read, tasks))

    return once
