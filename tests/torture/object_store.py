"""Two writers on one object store, with lost requests and replies and kill -9: nothing lost, nothing twice, no half.

The server is a thread of this process; what runs against it are processes with caches of their own.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from s3_server import S3Server, s3_server
from support import CountingBackbone, missing

from featurestore import FeatureStore
from torture import content as contents
from torture.bed import Bed
from torture.context import Context, variables
from torture.table import Row

WORKER = Path(__file__).with_name("object_store_worker.py")
# Two minutes of the ten that the load lasts in the long form.
SHARE = 0.2
LOST = {"request": 0.02, "reply": 0.06}
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
WRITERS, EMBEDDERS = 2, 2
TIMEOUT = 300.0


class Lossy:
    """Loses some puts and some deletions, before or after they are done, at random."""

    def __init__(self, numbers: random.Random) -> None:
        self.lost: Counter[str] = Counter()
        self.numbers = numbers

    def __call__(self, method: str, path: str) -> str:
        """See `S3Server.lose`."""
        drawn = self.numbers.random()
        if method == "GET" or drawn >= sum(LOST.values()):
            return ""
        what = "request" if drawn < LOST["request"] else "reply"
        self.lost[what] += 1
        return what


class Killed:
    """A worker that is started, killed after a random time, and started again."""

    def __init__(self, kind: str, address: str, folder: Path, number: int) -> None:
        self.log, self.kills = folder / f"{kind}-{number}.log", 0
        self._command = [sys.executable, str(WORKER), kind, address, str(self.log), str(number)]
        self._cache = folder / f"cache-{kind}-{number}"
        self.errors: list[str] = []
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[str]":
        environment = {**os.environ, **KEYS, "FEATURESTORE_CACHE": str(self._cache), "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True, env=environment)

    def kill(self, *, again: bool) -> None:
        """Kill it at once, and start it again."""
        self._process.send_signal(signal.SIGKILL)
        self.kills += 1
        self._ended()
        if again:
            self._process = self._start()

    def run_to_end(self) -> None:
        """Wait until it ends by itself."""
        self._ended()

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def _ended(self) -> None:
        err = self._process.communicate(timeout=TIMEOUT)[1]
        if self._process.returncode not in (0, -signal.SIGKILL):
            self.errors.append(err.strip()[-300:])

    def lines(self) -> list[list[str]]:
        """What it said, in words."""
        return [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []


def run(context: Context) -> list[Row]:
    """A row for the writers, for the reader, and for two that embed."""
    if reason := missing("moto", "obstore"):
        return [Row("object store", "two writers, lost replies, kill -9", 0, [], 0.0, reason)]
    bed = context.bed("object-store")
    with s3_server() as server, keys(bed.folder / "cache"):
        return [*_writers(context, bed, server), _embedders(context, bed, server)]


@contextmanager
def keys(cache: Path) -> Iterator[None]:
    """The keys of the server, and a cache, for this process and what it starts."""
    with variables({**KEYS, "FEATURESTORE_CACHE": str(cache)}):
        yield


def _writers(context: Context, bed: Bed, server: S3Server) -> list[Row]:
    address, numbers = server.address("writers"), context.random("object store")
    store, seconds = FeatureStore(address), max(2.5, context.seconds * SHARE)
    store.create()
    store.append({name: pa.table({"writer": [-1], "step": [-1]}) for name in ("a", "b")})
    lossy = server.lose = Lossy(numbers)
    started = time.monotonic()
    writers = [Killed("writer", address, bed.folder, number) for number in range(WRITERS)]
    reader = Killed("reader", address, bed.folder, 0)
    while not all(any(words[0] in ("stored", "saw") for words in one.lines()) for one in (*writers, reader)):
        time.sleep(0.1)  # the processes start
        if time.monotonic() > started + TIMEOUT:
            break
    started = time.monotonic()
    while (left := started + seconds - time.monotonic()) > 0:
        time.sleep(min(left, numbers.uniform(0.3, 1.0) * (3.0 if context.quick else 6.0)))
        numbers.choice(writers).kill(again=True)
    for one in (*writers, reader):
        one.kill(again=False)
    server.lose = lambda method, path: ""
    lasted = time.monotonic() - started
    lost, kills = sum(lossy.lost.values()), sum(one.kills for one in writers)
    note = f"{lost} requests or replies lost, {kills} kills"
    stored = sum(words[0] == "stored" for one in writers for words in one.lines())
    faults = [*_stored_once(address, bed, writers), *(error for one in writers for error in one.errors)]
    seen = [words for words in reader.lines() if words[0] in ("saw", "torn")]
    torn = [" ".join(words) for words in seen if words[0] == "torn"] + reader.errors
    return [
        Row("object store", f"{WRITERS} writers: what was acknowledged is there, once", stored, faults, lasted, note),
        Row("object store", "a reader sees whole commits", len(seen), torn, lasted, f"up to state {_last(seen)}"),
    ]


def _last(seen: list[list[str]]) -> str:
    return seen[-1][1] if seen else "0"


def _stored_once(address: str, bed: Bed, writers: list[Killed]) -> list[str]:
    """What is wrong with the store at the end, as another machine sees it."""
    os.environ["FEATURESTORE_CACHE"] = str(bed.folder / "cache-of-another")
    store, faults = FeatureStore(address), []
    for table in ("a", "b"):
        rows = Counter((row["writer"], row["step"]) for row in store.sql(f"FROM {table}").to_pylist())
        faults += [f"{key} is {count} times in {table}" for key, count in rows.items() if count > 1]
        for number, one in enumerate(writers):
            tried = {int(words[1]) for words in one.lines() if words[0] == "try"}
            acknowledged = {int(words[1]) for words in one.lines() if words[0] == "stored"}
            there = {step for writer, step in rows if writer == number}
            faults += [f"step {step} of writer {number} is lost from {table}" for step in acknowledged - there]
            faults += [f"step {step} of writer {number} was never tried" for step in there - tried]
    return faults + [f"damaged: {why}" for why in store.verify().damaged.values()]


def _embedders(context: Context, bed: Bed, server: S3Server) -> Row:
    """Two machines embed one store and are killed again and again: the content of one undisturbed local run."""
    address, numbers = server.address("embedders"), context.random("embedders")
    local = FeatureStore(bed.store("ingested", bed.ingested))
    local.embed(CountingBackbone(), batch_size=4)
    away = FeatureStore(address)
    away.ingest(metadata=bed.metadata, images=bed.images)
    server.lose = Lossy(numbers)
    started = time.monotonic()
    running = [Killed("embed", address, bed.folder, number) for number in range(EMBEDDERS)]
    for _ in range(context.size(12, 1)):
        time.sleep(numbers.uniform(1.0, 3.0))
        one = numbers.choice(running)
        if one.running:
            one.kill(again=True)
    threads = [threading.Thread(target=one.run_to_end) for one in running]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.lose = lambda method, path: ""
    faults = [error for one in running for error in one.errors]
    digests = {digest_of(local), digest_of(away.refresh())}
    if len(digests) > 1:
        faults.append(f"content {' and '.join(digests)}")
    kills = sum(one.kills for one in running)
    note = f"content hash {digest_of(local)}"
    return Row("object store", f"{EMBEDDERS} that embed, killed", kills + 1, faults, time.monotonic() - started, note)


def digest_of(store: FeatureStore) -> str:
    """The content hash of a store, of one on an object store by a copy of what it refers to."""
    for table in store.state.tables:
        store.layout.fetch(store.layout.parts(table))
    found: dict[str, Any] = dict(contents.content(store.path, store.state, store.objects))
    return contents.digest(found)
