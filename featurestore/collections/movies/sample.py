"""Generates the sample: a synthetic collection with the study's size and irregularities, the same bytes on each run."""

import csv
import io
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from featurestore.collections.movies.posters import draw
from featurestore.errors import InputError
from featurestore.files import atomic_folder
from featurestore.progress import Progress

HEADER = ("imdbId", "Imdb Link", "Title", "IMDB Score", "Genre", "Poster")
ROWS_KEPT, DUPLICATES = 39_515, 593
# Numbers of missing values in the file of 40,108 rows, including duplicates.
NO_SCORE, NO_GENRE, NO_POSTER = 48, 145, 725
GENRES = {
    "Drama": 357, "Comedy": 317, "Crime": 84, "Adventure": 53, "Action": 38, "Animation": 23, "Biography": 20,
    "Documentary": 17, "Romance": 16, "Fantasy": 14, "Horror": 13, "Mystery": 12, "Western": 11, "Musical": 8,
    "Family": 3, "War": 3, "History": 2, "Music": 2,
}  # fmt: skip
SHORT_ALONE = 4
# Some posters are byte-identical images of different films, and one is greyscale.
TWINS = 3
MARK, METADATA, POSTERS = "README.txt", "MovieGenre.csv", "posters"
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
    """One film of the sample: its id, its genre in the file, and the genre that its poster is drawn for."""

    img_id: int
    genre: str
    drawn_as: str


def write_sample(directory: Path, *, seed: int = 0, on_progress: Progress | None = None) -> None:
    """Write ``MovieGenre.csv`` (40,108 rows) and ``posters/`` (997 JPEG of 182 × 268) into ``directory``.

    An earlier sample is replaced. The new one appears atomically, when it is complete.

    Raises
    ------
    InputError
        When ``directory`` is a file, the current folder or a mount point, holds anything but a sample, or can't be
        written to.
    """
    directory = Path(os.path.realpath(directory))
    try:
        _check_target(directory)
        _build(directory, seed, on_progress)
    except OSError as error:
        raise InputError(
            f"the sample can't be written to {str(directory)!r} ({error.strerror or error}): name another folder"
        ) from error


def _check_target(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{str(directory)!r} is a file: name a folder for the sample")
    if directory.is_dir() and any(directory.iterdir()) and not _is_sample(directory):
        raise InputError(f"{str(directory)!r} holds other files than a sample: name an empty or a new folder")
    if directory == Path.cwd() or directory.is_mount():
        raise InputError(
            f"{str(directory)!r} is the current folder or a mount point, which can't be replaced atomically: "
            "name a folder inside it"
        )


def _is_sample(directory: Path) -> bool:
    """True when this module wrote everything in ``directory``: other files must not be deleted."""
    mark, posters = directory / MARK, directory / POSTERS
    if {path.name for path in directory.iterdir()} != {MARK, METADATA, POSTERS} or mark.read_bytes() != NOTE.encode():
        return False
    return all(path.suffix == ".jpg" and path.stem.isdecimal() and path.is_file() for path in posters.iterdir())


def _build(directory: Path, seed: int, on_progress: Progress | None) -> None:
    """Build the sample next to ``directory``, then swap it in; an interrupt leaves the old content."""
    with atomic_folder(directory) as building:
        (building / POSTERS).mkdir()
        films = _films(np.random.default_rng([seed, 1]))
        _write_posters(building / POSTERS, films, seed, on_progress)
        (building / METADATA).write_bytes(_metadata(films, np.random.default_rng([seed, 2])))
        (building / MARK).write_bytes(NOTE.encode())


def _films(rng: np.random.Generator) -> list[_Film]:
    """997 films, of which 811 end up labelled, with the study's counts at each step."""
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
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        drawn = pool.map(lambda job: draw(job[0].drawn_as, job[0].img_id, seed, job[2]), jobs)
        for done, ((_, img_id, _), content) in enumerate(zip(jobs, drawn, strict=True), 1):
            (folder / f"{img_id}.jpg").write_bytes(content)
            if on_progress:
                on_progress(done, len(jobs))
    finally:
        pool.shutdown(cancel_futures=True)


def _metadata(films: list[_Film], rng: np.random.Generator) -> bytes:
    """The metadata file: 39,515 distinct rows and 593 duplicates, shuffled."""
    known = {film.img_id: film.genre for film in films}
    here = np.fromiter(known, int)
    others = np.delete(np.arange(3_000_000), [0, *here])
    ids = np.r_[here, rng.choice(others, ROWS_KEPT - len(known), replace=False)]
    genres = [known.get(img_id, drawn) for img_id, drawn in zip(ids.tolist(), _genres(rng, len(ids)), strict=True)]
    scores = rng.normal(6.4, 1.1, len(ids)).clip(1.0, 9.9)
    rows = []
    for img_id, title, score, genre in zip(ids.tolist(), _titles(rng, len(ids)), scores.tolist(), genres, strict=True):
        link = f"https://example.invalid/title/tt{img_id:07d}"
        rows.append([img_id, link, title, f"{score:.1f}", genre, f"{link}/poster.jpg"])
    # Values are missing only in films without a poster in the sample, and not in duplicated rows.
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


def _genres(rng: np.random.Generator, count: int) -> list[str]:
    """One to three different genres for each film, frequent ones more often (Gumbel's trick, without a loop)."""
    names, weights = list(GENRES), np.array(list(GENRES.values()), float)
    ranked = np.argsort(-(np.log(weights) + rng.gumbel(size=(count, len(names)))), axis=1)
    lengths = rng.integers(1, 4, count)
    return ["|".join(names[k] for k in row[:n]) for row, n in zip(ranked.tolist(), lengths.tolist(), strict=True)]


def _titles(rng: np.random.Generator, count: int) -> list[str]:
    """Invented titles; about every 200th is damaged, as accents that went through a wrong encoding are."""
    picks = rng.integers([len(FIRST), len(SECOND), len(THIRD)], size=(count, 3)).tolist()
    years, damaged = rng.integers(1905, 2017, count).tolist(), (rng.random(count) < 0.005).tolist()
    titles = []
    for (first, second, third), year, broken in zip(picks, years, damaged, strict=True):
        title = f"The {FIRST[first]} {SECOND[second]}{THIRD[third]} ({year})"
        if broken:
            title = "Tr\u00cc_d" + title.replace("e", "\u00cc\u00b4").replace("o", "_")
        titles.append(title)
    return titles
