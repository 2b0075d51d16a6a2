"""Embedding: posters through networks of the true architecture, and a folder in which nothing is new."""

import shutil
from pathlib import Path

from perf.context import Context
from perf.measure import Contender, once, race
from perf.table import Goal, Row, row

ARCHITECTURES = {"Inception-v3": "InceptionV3", "ResNet50-v2": "ResNet50V2"}
POSTERS = 1_000
# A round of a part of the posters, so that several rounds take minutes; the whole is scaled up from them.
PART = 250
STUDY_POSTERS = 50


def run(context: Context) -> list[Row]:
    """Both networks, beside the study's way and beside the bare forward pass."""
    posters, what = context.posters(context.share(POSTERS, PART, 40))
    folder = context.folder("embed")
    images = folder / "posters"
    images.mkdir()
    for number, poster in enumerate(posters, start=1):
        shutil.copyfile(poster, images / f"{number}.jpg")
    store = folder / "store"
    once("made.py:ingested", {"store": store, "folder": images})
    files = [str(path) for path in sorted(images.iterdir())]
    rows = []
    for name, architecture in ARCHITECTURES.items():
        model = context.kept / architecture
        if not (model / "saved_model.pb").is_file():
            once("made.py:models", {"architecture": architecture, "model": model})
        rows += _network(context, name, {"model": str(model), "store": str(store)}, files, what)
    return rows


def _network(context: Context, name: str, options: dict[str, str], files: list[str], what: str) -> list[Row]:
    few = files[: context.size(STUDY_POSTERS, 10)]
    out = str(Path(options["store"]).with_name("study.csv.gz"))
    runs = race(
        [
            Contender("ours", "ours.py:embed", options),
            Contender("forward", "limits.py:forward", options | {"posters": files}),  # type: ignore[dict-item]
            Contender("study", "study.py:embed", options | {"posters": few, "out": out}),  # type: ignore[dict-item]
        ],
        context.size(3, 1),
    )
    ours, forward = runs["ours"], runs["forward"]
    computed = ours.answer["images"] if ours.answer else len(files)
    whole = len(files) if context.quick else POSTERS
    work = f"{name}, {whole:,} {what}"
    timed = f"random weights; {len(files):,} posters a round, {computed:,} of them distinct and so computed"
    timed += f", scaled up to {whole:,}" if computed < whole else ""
    return [
        row(
            "embed",
            work,
            ours=ours,
            other="one predict a poster, csv.gz",
            theirs=runs["study"],
            goal=Goal(1 / 4),
            scale=(whole / computed, whole / len(few)),
            note=f"{timed}; the study's way timed on {len(few)}",
        ),
        row(
            "embed",
            work,
            ours=ours,
            other="bare batched forward pass",
            theirs=forward,
            goal=Goal(1 / 0.93),
            kind="limit",
            scale=(whole / computed, whole / len(files)),
            note=timed,
        ),
    ]


def nothing_new(context: Context) -> list[Row]:
    """A folder whose images all have their vectors."""
    count = context.size(40_000, 1_000)
    folder = context.folder("nothing-new")
    images, store = folder / "images", folder / "store"
    once("made.py:small_images", {"folder": images, "count": count})
    once("made.py:ingested", {"folder": images, "store": store, "embed": True})
    runs = race(
        [
            Contender("ours", "ours.py:embed_nothing_new", {"store": store}),
            Contender("listing", "limits.py:listing", {"folder": images, "stat": True}),
            Contender("names", "limits.py:listing", {"folder": images, "stat": False}),
        ],
        context.repeats * 2,
    )
    shutil.rmtree(folder)
    work = f"nothing new, {count:,} images"
    told = "" if runs["ours"].answer in (None, [count, 0]) else f"[present, computed] is {runs['ours'].answer}"
    return [
        row(
            "embed",
            work,
            ours=runs["ours"],
            other="listing with sizes and times",
            theirs=runs["listing"],
            goal=Goal(3.0),
            kind="limit",
            note=told,
        ),
        row(
            "embed", work, ours=runs["ours"], other="names alone, sorted", theirs=runs["names"], goal=None, kind="scale"
        ),
    ]
