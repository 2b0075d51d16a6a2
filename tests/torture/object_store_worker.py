"""One writer, embedder or reader of a store on an object store, in a process of its own, until it is killed.

python object_store_worker.py writer|embed|reader ADDRESS FILE NUMBER
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "helpers")]

import pyarrow as pa  # noqa: E402
from support import CountingBackbone  # noqa: E402

from featurestore import FeatureStore  # noqa: E402
from featurestore.errors import StoreError  # noqa: E402

# Rows of `a` and `b` are committed together: a whole state has as many of each, each once.
WHOLE = """
SELECT (SELECT count(*) FROM a) AS a, (SELECT count(*) FROM b) AS b,
       (SELECT count(DISTINCT (writer, step)) FROM a) AS once_a,
       (SELECT count(DISTINCT (writer, step)) FROM b) AS once_b
"""
EVERY = {"compact": 23, "gc": 17, "snapshot": 11}


def writer(store: FeatureStore, log: Path, number: int) -> None:
    """Commit rows to two tables, numbered on from what is in ``log``, which says of each step when it is stored."""
    done = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
    step = max((int(words[1]) for words in done), default=-1)
    with log.open("a") as file:
        while True:
            step += 1
            print("try", step, file=file, flush=True)
            rows = pa.table({"writer": [number], "step": [step]})
            try:
                store.append({"a": rows, "b": rows})
                print("stored", step, file=file, flush=True)
                if step % EVERY["compact"] == number:
                    store.compact()
                if step % EVERY["gc"] == number:
                    store.gc()
                if step % EVERY["snapshot"] == number:
                    store.create_snapshot(f"{number}-{step}")
            except StoreError as error:  # a conflict, or a connection that is lost again and again
                print("said", step, type(error).__name__, error, file=file, flush=True)


def embed(store: FeatureStore, log: Path, _: int) -> None:
    """Embed, and say how many were computed."""
    report = store.embed(CountingBackbone(), batch_size=4)
    with log.open("a") as file:
        print("embedded", report.computed, report.reused, report.present, file=file, flush=True)


def reader(store: FeatureStore, log: Path, _: int) -> None:
    """Look at state after state, and say what is wrong with one."""
    last, rows = 0, 0
    with log.open("a") as file:
        while True:
            try:
                store.refresh()
                found = store.sql(WHOLE).to_pylist()[0]
                number = store.state.number
            except StoreError as error:
                print("said", last, type(error).__name__, error, file=file, flush=True)
                continue
            whole = len(set(found.values())) == 1 and number >= last and found["a"] >= rows
            last, rows = number, found["a"]
            print("saw" if whole else "torn", number, found, file=file, flush=True)


if __name__ == "__main__":
    kind, address, file, count = sys.argv[1:]
    {"writer": writer, "embed": embed, "reader": reader}[kind](FeatureStore(address), Path(file), int(count))
