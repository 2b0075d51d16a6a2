"""Names of backbones with a snapshot, ``NAME@SNAPSHOT``: which state of a store is meant; it opens none."""

from collections.abc import Sequence

from featurestore.errors import InputError


def without_snapshot(backbones: str | Sequence[str]) -> tuple[str | list[str], str | None]:
    """The bare name or names of ``backbones``, and the snapshot that all of them name; None if none names one.

    Raises
    ------
    InputError
        When they don't name the same snapshot: rows and vectors are those of one state.

    >>> without_snapshot("clip@before"), without_snapshot(["clip", "dino"])
    (('clip', 'before'), (['clip', 'dino'], None))
    """
    listed = [backbones] if isinstance(backbones, str) else list(backbones)
    snapshots = list(dict.fromkeys(name.partition("@")[2] if "@" in name else None for name in listed))
    if len(snapshots) > 1:
        named = " and ".join("none" if one is None else repr(one) for one in snapshots)
        raise InputError(f"got backbones of several snapshots ({named}), expected one, as in clip@before, dino@before")
    names = [name.partition("@")[0] for name in listed]
    return names[0] if isinstance(backbones, str) else names, snapshots[0] if snapshots else None
