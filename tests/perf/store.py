"""`make perf`: what pulls and searches cost beside their limits, in one run; it prints ratios and asserts nothing.

    python tests/perf/store.py [--rows 100000] [--dim 2048] [--repeats 5]

The vectors are random, so every figure is about time and memory alone. faiss is a rival, not a dependency: where it is
not installed, its row says so.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

PULL = """
import json, re, sys, time
import numpy as np
import featurestore
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = peak()
start = time.perf_counter()
if sys.argv[1] == "ours":
    X = featurestore.open(sys.argv[2]).features("made_up", view="images_usable").to_numpy().X
else:
    X = np.load(sys.argv[2])
seconds = time.perf_counter() - start
after = peak()
print(json.dumps([seconds, (after - before) * 1024 / X.nbytes]))
"""


def build(folder: Path, rows: int, dim: int) -> tuple[Path, Path]:
    """A store of random vectors without image files, and the same matrix as ``.npy``."""
    from featurestore.backbones.base import BackboneSpec, Preprocessing
    from featurestore.scan import images_table
    from featurestore.schemas import IMAGES
    from featurestore.staging import publish_vectors
    from featurestore.writer import open_writer

    X = np.random.default_rng(0).random((rows, dim), np.float32)
    np.save(folder / "matrix.npy", X)
    blank = dict.fromkeys(IMAGES.names) | {"size_bytes": 0, "status": "ok", "synthetic": True, "folder": ""}
    images = [blank | {"ImgId": i, "ImgName": f"{i}.jpg", "content_hash": f"{i:064x}"} for i in range(1, rows + 1)]
    spec = BackboneSpec("made_up", dim, Preprocessing(), "random", synthetic=True)
    extraction = None
    with open_writer(folder / "store", create=True) as writer:
        with writer.commit() as commit:
            commit.replace("images", images_table(images))
        for start in range(0, rows, 4096):
            ids = list(range(start + 1, min(start + 4096, rows) + 1))
            extraction = publish_vectors(
                writer,
                spec,
                ids=ids,
                hashes=[f"{i:064x}" for i in ids],
                vectors=X[start : start + len(ids)],
                extraction=extraction,
            )
    return folder / "store", folder / "matrix.npy"


def pull(kind: str, path: Path) -> tuple[float, float]:
    """Seconds, and growth of memory as a multiple of the matrix, in a process of its own."""
    result = subprocess.run([sys.executable, "-c", PULL, kind, str(path)], capture_output=True, text=True, check=True)
    seconds, memory = json.loads(result.stdout)
    return seconds, memory


def clock(function: Callable[[], object], repeats: int) -> float:
    """Median seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def row(job: str, ours: float, rival: str, theirs: float | None) -> None:
    """Print one line of the table."""
    if theirs is None:
        print(f"{job:<34}{ours:>10.4f} s   {rival:<26}{'not installed':>12}")
    else:
        print(f"{job:<34}{ours:>10.4f} s   {rival:<26}{theirs:>10.4f} s{ours / theirs:>9.2f} ×")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store_path, matrix_path = build(Path(folder), options.rows, options.dim)
        pairs = [(pull("ours", store_path), pull("numpy", matrix_path)) for _ in range(options.repeats)]
        print(f"{options.rows:,} × {options.dim:,} float32, medians of {options.repeats}, random vectors")
        ours, limit = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
        row("pull to NumPy, new process", ours, "np.load", limit)
        print(f"{'  memory':<34}{statistics.median(pair[0][1] for pair in pairs):>10.2f} × the matrix")
        search(store_path, matrix_path, options.repeats)
    print(f"peak memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


def search(store_path: Path, matrix_path: Path, repeats: int) -> None:
    """Top-10 of one query and of a hundred, warm."""
    from featurestore import open as open_store

    store = open_store(store_path)
    ids = list(range(1, 101))
    store.similar(1, backbone="made_up")
    one = clock(lambda: store.similar(1, backbone="made_up"), repeats)
    many = clock(lambda: store.similar(ids, backbone="made_up"), repeats)
    X = np.load(matrix_path)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    row("top 10, one query, warm", one, "BLAS product", clock(lambda: X @ X[0], repeats))
    try:
        import faiss  # type: ignore[import-not-found]
    except ImportError:
        row("top 10, 100 queries, warm", many, "faiss flat", None)
        row("top 10, 100 queries, warm", many, "BLAS product", clock(lambda: X[:100] @ X.T, repeats))
        return
    index = faiss.IndexFlatIP(X.shape[1])
    index.add(X)
    row("top 10, one query, warm", one, "faiss flat", clock(lambda: index.search(X[:1], 10), repeats))
    row("top 10, 100 queries, warm", many, "faiss flat", clock(lambda: index.search(X[:100], 10), repeats))


if __name__ == "__main__":
    main()
