"""Workers refuse to compute otherwise than their driver, and are replaced when they are lost; no cluster runs here."""

import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cluster_backbones
import pyarrow as pa
import pytest
import support
from support import CountingBackbone

from featurestore import FeatureStore
from featurestore.backbones.shipping import resolve_source
from featurestore.embedding import worker_pool
from featurestore.embedding.cluster_worker import ShardDone, ShardWorker, WorkerOrder
from featurestore.embedding.plan import make_plan
from featurestore.embedding.provenance import extraction_of, processor
from featurestore.embedding.worker_pool import WorkerPool
from featurestore.engines import Call, Need, RemoteWorker
from featurestore.errors import BackboneError, ClusterError, InputError, WorkerLost
from featurestore.storage.layout import Layout
from featurestore.storage.state import read_state


@pytest.fixture
def store(collection: support.Collection, tmp_path: Path) -> FeatureStore:
    store = FeatureStore(tmp_path / "store")
    store.ingest(metadata=collection.metadata, images=collection.images)
    return store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return Path(shutil.copy(cluster_backbones.__file__, tmp_path / "mine.py"))


@pytest.fixture
def order(store: FeatureStore, file: Path) -> WorkerOrder:
    source = resolve_source(f"python:{file}:blocks")
    out = Path(store.path) / "staging" / "run" / "shards"
    out.mkdir(parents=True)
    return WorkerOrder(
        root=Path(store.path),
        store=store.state.store,
        out=out,
        source=source.sendable(),
        extraction=extraction_of(source.backbone.spec),
        batch_size=8,
        threads=1,
        decoders=1,
        processor=processor(),
    )


def changed(order: WorkerOrder, **fields: str) -> WorkerOrder:
    return replace(order, extraction=replace(order.extraction, **fields))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda order: replace(order, version="0.0.0"), "version 0.0.0"),
        (lambda order: replace(order, root=order.root.parent / "nowhere"), "does not see the store"),
        (lambda order: replace(order, store="0" * 32), "sees another store"),
        (lambda order: replace(order, out=order.root / "staging" / "other" / "shards"), "sees another store"),
        (lambda order: changed(order, revision="0" * 16), "expected that of this machine, revision 0000000000000000"),
        (lambda order: changed(order, libraries='{"torch": "1.0"}'), "torch.*--other-engine"),
        (lambda order: changed(order, precision="float16"), "float16.*--other-engine"),
        (lambda order: replace(order, processor="x86_64 mmx"), "the processor .*mmx.*--other-engine"),
    ],
)
def test_a_worker_that_would_compute_otherwise_refuses(
    order: WorkerOrder, change: Callable[[WorkerOrder], WorkerOrder], sentence: str
) -> None:
    assert ShardWorker(order).start(None)
    with pytest.raises(ClusterError, match=sentence):
        ShardWorker(change(order)).start(None)


def test_another_engine_is_accepted_where_the_user_says_so(order: WorkerOrder) -> None:
    other = changed(replace(order, processor="another", other_engine=True), libraries='{"torch": "1.0"}')
    assert ShardWorker(other).start(None)
    with pytest.raises(ClusterError, match="revision"):
        ShardWorker(changed(other, revision="0" * 16)).start(None)


def test_a_worker_without_the_files_takes_the_copy_and_only_the_right_one(
    order: WorkerOrder, file: Path, tmp_path: Path
) -> None:
    copy = order.source.copy_files(tmp_path / "copies")
    assert copy == tmp_path / "copies" / "mine.py"
    file.unlink()
    assert not ShardWorker(order).start(None)
    assert ShardWorker(order).start(copy)
    file.write_text("raise SystemExit('other code under the same path, which is not run')")
    assert not ShardWorker(order).start(None)
    copy.write_text("raise SystemExit('not run either')")
    with pytest.raises(BackboneError, match="other weights"):
        ShardWorker(order).start(copy)


def test_a_folder_of_weights_is_copied_whole(tmp_path: Path) -> None:
    source = replace(
        resolve_source(CountingBackbone()), loaded=None, reference="savedmodel:x", place=tmp_path / "model"
    )
    (tmp_path / "model" / "variables").mkdir(parents=True)
    for name in ("saved_model.pb", "variables/data", ".hidden"):
        (tmp_path / "model" / name).write_text(name)
    copy = source.copy_files(tmp_path / "copies")
    assert copy is not None
    assert sorted(str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()) == [
        "saved_model.pb",
        "variables/data",
    ]


def test_images_that_a_node_lacks_are_no_unreadable_images(order: WorkerOrder, collection: support.Collection) -> None:
    worker = ShardWorker(order)
    worker.start(None)
    assert order.source.place is not None
    spec = order.source.load().spec
    todo = make_plan(Layout(order.root, read_state(order.root)), spec).todo
    collection.images.rename(collection.images.with_name("elsewhere"))
    with pytest.raises(InputError, match=r"does not see the images in .*posters"):
        worker.compute(todo)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"cluster_workers": 2}, "name it with --on"),
        ({"worker_gpus": 0.0}, "name it with --on"),
        ({"on": "auto", "shard": "1/2", "out": "x"}, "leave one out"),
        ({"on": "auto", "cluster_workers": 0}, "got 0 as the number"),
        ({"on": "auto", "worker_cpus": -1.0}, "CPUs"),
        ({"on": "nowhere"}, "expected ray://HOST:PORT"),
    ],
)
def test_impossible_choices_are_refused(store: FeatureStore, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        store.embed(CountingBackbone(), **arguments)


class FakeCluster:
    """Calls workers in this process, when their results are asked for; ``lost`` says which calls lose their worker."""

    address = "fake"

    def __init__(self, lost: Callable[[str, Any], bool] = lambda method, argument: False) -> None:
        self.lost = lost
        self.started = 0
        self.ended_workers = 0
        self._dead: set[int] = set()

    def worker(self, kind: Callable[..., Any], *arguments: Any, need: Need | None = None) -> RemoteWorker:
        actor = FakeActor(self)
        self.started += 1
        return RemoteWorker(actor, Call(("create", actor, ())))

    def end(self, worker: RemoteWorker) -> None:
        self.ended_workers += 1

    def ended(self, calls: Collection[Call], *, seconds: float | None = None) -> list[Call]:
        return list(calls)

    def result(self, call: Call) -> Any:
        method, actor, arguments = call.reference
        argument = arguments[0] if arguments else None
        if actor.dead or self.lost(method, argument):
            actor.dead = True
            raise WorkerLost("a worker was lost")
        if method == "start":
            return argument is not None
        return ShardDone("", str(id(actor)), len(argument), 1.0) if method == "compute" else None


@dataclass(eq=False)
class FakeActor:
    cluster: FakeCluster
    dead: bool = False
    call: Any = field(init=False)

    def __post_init__(self) -> None:
        self.call = self

    def remote(self, method: str, arguments: tuple[Any, ...]) -> Any:
        return method, self, arguments


def shards(count: int) -> Iterator[pa.Table]:
    """Tables of 1, 2, … rows, so that the sizes tell them apart."""
    return (pa.table({"row": range(number + 1)}) for number in range(count))


def pool(cluster: FakeCluster, **changes: Any) -> WorkerPool:
    return WorkerPool(cluster, None, **({"count": 3, "need": Need(), "copy_files": lambda: Path("copy")} | changes))  # type: ignore[arg-type]


def test_every_shard_is_computed_once_though_workers_are_lost() -> None:
    losses = iter([False, True] * 5 + [False] * 1000)
    cluster = FakeCluster(lambda method, argument: next(losses))
    with pool(cluster) as workers:
        assert sorted(done.images for done in workers.results(shards(40))) == list(range(1, 41))
    assert cluster.started == 3 + 5
    assert cluster.ended_workers == cluster.started


def test_a_shard_that_ends_every_worker_ends_the_run() -> None:
    cluster = FakeCluster(lambda method, argument: method == "compute" and len(argument) == 7)
    with pool(cluster) as workers, pytest.raises(ClusterError, match="lost again and again"):
        list(workers.results(shards(40)))
    assert cluster.started <= 3 + worker_pool.MOST_LOSSES


def test_workers_that_never_live_end_the_run() -> None:
    with (
        pool(FakeCluster(lambda method, argument: method == "start")) as workers,
        pytest.raises(ClusterError, match="lost again and again"),
    ):
        list(workers.results(shards(2)))


def test_without_a_worker_it_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster()
    monkeypatch.setattr(cluster, "ended", lambda calls, seconds: [])
    monkeypatch.setattr(worker_pool, "PATIENCE", 0.0)
    with pool(cluster) as workers, pytest.raises(ClusterError, match="no worker with 1 CPUs started"):
        list(workers.results(shards(2)))


def test_files_are_copied_once_for_all_workers_that_lack_them() -> None:
    copies: list[Path] = []

    def copy_files() -> Path:
        copies.append(Path("copy"))
        return copies[-1]

    with pool(FakeCluster(), copy_files=copy_files) as workers:
        assert len(list(workers.results(shards(5)))) == 5
    assert len(copies) == 1


def test_nothing_to_compute_starts_no_worker() -> None:
    cluster = FakeCluster()
    with pool(cluster) as workers:
        assert list(workers.results(shards(0))) == []
    assert cluster.started == 0
