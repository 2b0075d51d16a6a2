"""The embedded sample: a synthetic collection of the study's shape and quirks, the same bytes on every run."""

import csv
import io
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featurestore.errors import InputError
from featurestore.posters import draw
from featurestore.progress import Progress

HEADER = ("imdbId", "Imdb Link", "Title", "IMDB Score", "Genre", "Poster")
ROWS_KEPT, DUPLICATES = 39_515, 593
# Missing in the file of 40,108 rows, duplicates counted.
NO_SCORE, NO_GENRE, NO_POSTER = 48, 145, 725
GENRES = {
    "Drama": 357, "Comedy": 317, "Crime": 84, "Adventure": 53, "Action": 38, "Animation": 23, "Biography": 20,
    "Documentary": 17, "Romance": 16, "Fantasy": 14, "Horror": 13, "Mystery": 12, "Western": 11, "Musical": 8,
    "Family": 3, "War": 3, "History": 2, "Music": 2,
}  # fmt: skip
SHORT_ALONE = 4
# Of the posters, some are byte-identical pictures of different films, and one is greyscale.
TWINS = 3
MARK = "README.txt"
NOTE = """Synthetic: this collection was made by `featurestore sample`. Films, links and posters are invented; the
posters depend weakly on the genre, so that classifiers have something to find. No figure that comes from it says
anything about real films.
"""
# fmt: off
FIRST = ("Silent", "Golden", "Broken", "Midnight", "Paper", "Iron", "Distant", "Hidden", "Crimson", "Hollow", "Gentle")
SECOND = ("River", "Letter", "Garden", "Station", "Promise", "Shadow", "Harbour", "Orchard", "Mirror", "Road", "Piano")
THIRD = ("", "", "", " of the North", " in Love", ", Part II", ' "Encore"', " and the Sea", " Returns", ": A Story")
# fmt: on


@dataclass(frozen=True)
class _Film:
    """One film of the sample: its id, genre as in the file, and the genre its poster is drawn for."""

    img_id: int
    genre: str
    drawn_as: str


def write_sample(directory: Path, *, seed: int = 0, on_progress: Progress | None = None) -> None:
    """Write ``MovieGenre.csv`` (40,108 rows) and ``posters/`` (997 JPEG of 182 × 268) into ``directory``.

    An earlier sample is replaced; everything appears at once, when it is complete.

    Raises
    ------
    InputError
        When ``directory`` is a file, or holds something else than a sample.
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{str(directory)!r} is a file: name a folder for the sample")
    if directory.is_dir() and any(directory.iterdir()) and not _is_sample(directory):
        raise InputError(f"{str(directory)!r} holds other things than a sample: name an empty or a new folder")
    building = directory.with_name(f".{directory.name}.{os.getpid()}.tmp")
    try:
        (building / "posters").mkdir(parents=True)
        films = _films(np.random.default_rng([seed, 1]))
        _write_posters(building / "posters", films, seed, on_progress)
        (building / "MovieGenre.csv").write_bytes(_metadata(films, np.random.default_rng([seed, 2])))
        (building / MARK).write_text(NOTE, "utf-8")
        if directory.is_dir():
            shutil.rmtree(directory)
        os.replace(building, directory)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _is_sample(directory: Path) -> bool:
    mark = directory / MARK
    return mark.is_file() and mark.read_text("utf-8") == NOTE


def _films(rng: np.random.Generator) -> list[_Film]:
    """997 films whose funnel ends at 811 labelled ones with the study's counts."""
    genres = [genre for genre, count in GENRES.items() for _ in range(count)]
    rng.shuffle(genres)
    ids = np.sort(rng.choice(np.arange(10_040, 30_000), len(genres) + SHORT_ALONE, replace=False))
    alone = set(rng.choice(len(ids), SHORT_ALONE, replace=False).tolist())
    films, taken = [], iter(genres)
    for place, img_id in enumerate(ids.tolist()):
        if place in alone:
            films.append(_Film(img_id, "Short", "Drama"))
            continue
        first = next(taken)
        others = [genre for genre in GENRES if genre != first]
        more = [str(genre) for genre in rng.choice(others, int(rng.integers(0, 3)), replace=False)]
        short = ["Short"] if rng.random() < 0.04 else []
        films.append(_Film(img_id, "|".join([*short, first, *more][:3]), first))
    return films


def _write_posters(folder: Path, films: list[_Film], seed: int, on_progress: Progress | None) -> None:
    twins = {films[10 * k + 11].img_id: films[10 * k + 10] for k in range(TWINS)}
    jobs = [(twins.get(film.img_id, film), film.img_id, film is films[5]) for film in films]
    with ProcessPoolExecutor() as pool:
        drawn = pool.map(
            draw,
            [source.drawn_as for source, _, _ in jobs],
            [source.img_id for source, _, _ in jobs],
            [seed] * len(jobs),
            [grey for _, _, grey in jobs],
            chunksize=32,
        )
        for done, ((_, img_id, _), content) in enumerate(zip(jobs, drawn, strict=True), 1):
            (folder / f"{img_id}.jpg").write_bytes(content)
            if on_progress:
                on_progress(done, len(jobs))


def _metadata(films: list[_Film], rng: np.random.Generator) -> bytes:
    """The metadata file: 39,515 different rows and 593 that repeat one, shuffled."""
    known = {film.img_id: film.genre for film in films}
    pool = np.setdiff1d(np.arange(1, 3_000_000), np.fromiter(known, int))
    ids = np.r_[np.fromiter(known, int), rng.choice(pool, ROWS_KEPT - len(known), replace=False)]
    names, weights = list(GENRES), np.array(list(GENRES.values()), float)
    rows = []
    for img_id in ids.tolist():
        genre = known.get(img_id) or "|".join(
            rng.choice(names, int(rng.integers(1, 4)), replace=False, p=weights / weights.sum()).tolist()
        )
        link = f"https://example.invalid/title/tt{img_id:07d}"
        rows.append(
            [img_id, link, _title(rng), f"{min(max(rng.normal(6.4, 1.1), 1.0), 9.9):.1f}", genre, f"{link}/poster.jpg"]
        )
    # What is missing is missing in films without a poster here, and in none that is repeated.
    places = rng.permutation(np.arange(len(known), ROWS_KEPT))
    for column, count in ((3, NO_SCORE), (4, NO_GENRE), (5, NO_POSTER)):
        for place in places[:count]:
            rows[place][column] = ""
        places = places[count:]
    rows += [rows[place] for place in places[:DUPLICATES]]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows[place] for place in rng.permutation(len(rows)))
    return text.getvalue().encode("utf-8")


def _title(rng: np.random.Generator) -> str:
    """An invented title; every 200th is damaged, as accents that went through a wrong encoding are."""
    first, second, third = (words[int(rng.integers(len(words)))] for words in (FIRST, SECOND, THIRD))
    title = f"The {first} {second}{third} ({int(rng.integers(1905, 2017))})"
    if rng.random() < 0.005:
        title = "Tr\u00cc_d" + title.replace("e", "\u00cc\u00b4").replace("o", "_")
    return title
