"""100 epochs of a new last layer on the frozen ResNet50, beside the study's loop over whole images."""

from perf.context import Context
from perf.measure import Contender, once, race
from perf.table import Goal, Row, row

POSTERS = 811
# A round of a part of the posters, so that several rounds take minutes; the whole is scaled up from them.
PART = 200


def run(context: Context) -> list[Row]:
    """811 posters, four fifths to train on; one epoch of the loop is timed and scaled up."""
    posters, what = context.posters(context.share(POSTERS, PART, 40))
    whole = len(posters) if context.quick else POSTERS
    folder = context.folder("finetune")
    weights = context.kept / "resnet50"
    if not (weights / "config.json").is_file():
        once("finetuned.py:weights", {"weights": weights})
    options = {"weights": str(weights), "posters": posters, "cache": str(folder / "cache")}
    runs = race(
        [
            Contender("ours", "finetuned.py:cached", options),
            Contender("loop", "finetuned.py:loop", options),
        ],
        context.size(3, 1),
    )
    ours = runs["ours"]
    epochs = ours.answer["epochs"] if ours.answer else 100
    fit = (
        f"; of ours the epochs took {ours.answer['fit_seconds']} s, the rest is the network once" if ours.answer else ""
    )
    return [
        row(
            "finetune",
            f"{epochs} epochs, frozen ResNet50, {whole} {what}",
            ours=ours,
            other="the study's loop",
            theirs=runs["loop"],
            goal=Goal(1 / 20),
            scale=(whole / len(posters), epochs * whole / len(posters)),
            note=f"random weights; {len(posters)} posters a round, one epoch of the loop; both scaled up{fit}",
        )
    ]
