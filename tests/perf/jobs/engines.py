"""Engines: whole embeds in each precision beside the fastest bare forward pass in float32; start-up and memory."""

import shutil
import statistics
from pathlib import Path

from perf.context import Context
from perf.jobs.embed import ARCHITECTURES
from perf.measure import Contender, Runs, once, race
from perf.table import Goal, Row, row, value_row

# The whole embed takes all of them, the bare passes some: they have no beginning and no end.
POSTERS, BARE = 811, 256
BATCH = 32
# How many times the images per second of the fastest float32 pass, at least.
GOALS = {"fp32": 0.93, "bf16": 1.7, "int8": 2.7}
SECONDS, MEGABYTES = 2.0, 700.0


def run(context: Context) -> list[Row]:
    """Both networks, converted once."""
    rows = []
    for name, architecture in ARCHITECTURES.items():
        model = context.kept / architecture
        if not (model / "saved_model.pb").is_file():
            once("made.py:models", {"architecture": architecture, "model": model})
        rows += network(context, f"{name}, random weights", model)
    return rows


def network(context: Context, name: str, model: Path) -> list[Row]:
    """The rows of one SavedModel for images of 224 × 224 pixels."""
    posters, what = context.posters(context.size(POSTERS, BATCH))
    folder = context.folder(f"engines-{model.name}")
    images, store = folder / "posters", folder / "store"
    images.mkdir()
    for number, poster in enumerate(posters, start=1):
        shutil.copyfile(poster, images / f"{number}.jpg")
    once("made.py:ingested", {"store": store, "folder": images})
    for precision in ("fp32", "int8"):
        once("made.py:converted", {"model": str(model), "folder": str(folder / precision), "precision": precision})
    files = [str(path) for path in sorted(images.iterdir())]
    runs = race(_contenders(folder, store, files, str(model)), context.size(3, 1))
    name = f"{name}, {len(files):,} {what}"
    return [*_speeds(name, runs, len(files)), *_beginnings(name, folder, files[0], runs, context.size(3, 1))]


def _contenders(folder: Path, store: Path, files: list[str], model: str) -> list[Contender]:
    found = []
    for precision in GOALS:
        options = {"store": str(store), "copy": precision, "reference": f"converted:{folder / _folder(precision)}"}
        if precision == "bf16":
            options["precision"] = precision
        found.append(Contender(precision, "ours.py:embed", options))
    some = files[:BARE]
    bare = {"file": str(folder / "fp32" / "model.xml"), "posters": some}
    found += [
        Contender(f"OpenVINO, batches of {size}", "limits.py:forward_openvino", bare | {"batch": size})
        for size in (1, BATCH)
    ]
    return [*found, Contender("TensorFlow", "limits.py:forward", {"model": model, "posters": some})]


def _folder(precision: str) -> str:
    return "int8" if precision == "int8" else "fp32"


def _speeds(name: str, runs: dict[str, Runs], count: int) -> list[Row]:
    bare = {one: found for one, found in runs.items() if one not in GOALS and found.seconds}
    if not bare:
        return [Row("engines", name, "bare forward pass", "limit", None, [], [], None, "no float32 engine ran")]
    fastest = min(bare, key=lambda one: statistics.median(bare[one].seconds) / bare[one].answer["images"])
    rows = []
    for precision, times in GOALS.items():
        ours = runs[precision]
        computed = ours.answer["images"] if ours.answer else count
        rows.append(
            row(
                "engines",
                f"{name}, {precision}",
                ours=ours,
                other=f"fastest float32 pass: {fastest}",
                theirs=bare[fastest],
                goal=Goal(1 / times),
                kind="limit",
                scale=(count / computed, count / bare[fastest].answer["images"]),
            )
        )
    others = [one for one in bare if one != fastest]
    scale = count / bare[fastest].answer["images"]
    return rows + [
        row(
            "engines",
            f"{name}, {fastest}",
            ours=bare[fastest],
            other=one,
            theirs=bare[one],
            goal=None,
            kind="scale",
            scale=(scale, count / bare[one].answer["images"]),
        )
        for one in others
    ]


def _beginnings(name: str, folder: Path, poster: str, runs: dict[str, Runs], repeats: int) -> list[Row]:
    """Seconds to the first vector in a new process, and the most memory of a whole embed."""
    options = {"reference": f"converted:{folder / 'fp32'}", "poster": poster}
    started = race([Contender("start", "ours.py:first_vector", options, fresh=True)], repeats)["start"]
    rows = []
    if started.seconds:
        seconds = statistics.median(started.seconds)
        rows.append(
            value_row("engines", f"{name}, to the first vector", value=seconds, other="-", goal=Goal(SECONDS, "s"))
        )
    if runs["fp32"].peak_mb:
        peak = max(runs["fp32"].peak_mb)
        rows.append(value_row("engines", f"{name}, peak memory", value=peak, other="-", goal=Goal(MEGABYTES, "MB")))
    return rows
