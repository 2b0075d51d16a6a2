"""This project on a Ray cluster and without: an embed from its first receipt to its last, and a bench."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Options = dict[str, Any]
SLEEPER = Path(__file__).with_name("sleeper.py")


def embed(options: Options) -> Callable[[], Any]:
    """Embed a copy of an ingested store on ``on`` with so many ``workers``; the seconds of all at the rate between."""
    from featurestore import FeatureStore

    def once() -> Any:
        store = FeatureStore(_copy(Path(options["store"]), "embed"))
        seen: list[tuple[float, int]] = []

        def note(done: int, total: int) -> None:
            if done:
                seen.append((time.monotonic(), done))

        report = store.embed(
            f"python:{SLEEPER}:sleeper",
            on=options["on"],
            cluster_workers=options["workers"],
            worker_cpus=options["cpus"],
            on_progress=note,
        )
        (first, begun), (last, done) = seen[0], seen[-1]
        seconds = (last - first) / (done - begun) * report.computed
        return {"seconds": seconds, "images": report.computed, "workers": len(report.workers), "shards": len(seen)}

    return once


def bench(options: Options) -> Callable[[], Any]:
    """The cells of a bench on a fresh copy of a store, ``on`` a cluster where one is named; costs are not measured."""
    from benchmarks.heads.registry import find
    from benchmarks.plan.protocols import Protocol
    from benchmarks.run.limits import Limits
    from benchmarks.run.runner import run
    from featurestore import open as open_store

    heads, limits = find(options["heads"]), Limits(workers=options["workers"], on=options.get("on"))
    drawn = [Protocol("cv", folds=options["folds"], repeats=options["repeats"])]

    def once() -> Any:
        store = open_store(_copy(Path(options["store"]), "bench"))
        (report,) = run(store, heads=heads, protocols=drawn, limits=limits)
        return {"computed": report.computed, "failed": report.failed}

    return once


def _copy(store: Path, name: str) -> Path:
    target = store.with_name(f"{store.name}-{name}")
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(store, target))
