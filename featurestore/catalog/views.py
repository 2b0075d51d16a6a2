"""Creates, checks and removes users' feature views: named SELECTs that are part of the state and of each snapshot."""

from collections.abc import Collection, Mapping

from featurestore.catalog import isolated
from featurestore.catalog.failing import Failure
from featurestore.catalog.recipe import own_names
from featurestore.catalog.sandbox import SECONDS_LIMIT
from featurestore.catalog.tangled import check_text
from featurestore.catalog.writer import open_writer
from featurestore.errors import InputError
from featurestore.storage.names import check_identifier, check_names, nearest, well_named
from featurestore.storage.objects import Place, objects_of
from featurestore.storage.state import State, read_state


def create(
    place: Place,
    name: str,
    query: str,
    *,
    replace: bool = False,
    wait_seconds: float = 0.0,
    seconds: float = SECONDS_LIMIT,
) -> int:
    """Create the view ``name`` from ``query``, one SELECT over the store's views, and return its number of rows.

    It is bound, and its rows are counted, for at most ``seconds`` in a process with limits.

    Raises
    ------
    InputError
        When the name is in use or not a lower-case identifier, or the view has no column `ImgId` or repeats an id.
    QueryError
        When the query is refused or fails.
    """
    check_identifier(name, "view")
    text = query.strip().rstrip(";").strip()
    check_text(text)
    read_state(place)
    with open_writer(place, wait_seconds=wait_seconds, purpose=f"view {name}") as writer:
        mine = name in writer.state.views
        if mine and not replace:
            raise InputError(f"there is a view {name!r} already: use --replace, or another name")
        state = writer.state
        own = own_names(state.collection)
        known = well_named(state.tables, state.revisions, state.views, own=own)
        check_names(state.tables, state.revisions, [*known, name], own=own)
        rows = isolated.try_view(writer.objects, state, name, text, seconds=seconds)
        with writer.commit() as commit:
            commit.set_view(name, text)
    return rows


def remove(place: Place, name: str, *, wait_seconds: float = 0.0) -> None:
    """Remove a user's view.

    Raises
    ------
    InputError
        When there is none, or another view depends on it.
    """
    read_state(place)
    with open_writer(place, wait_seconds=wait_seconds, purpose=f"remove view {name}") as writer:
        if name not in writer.state.views:
            raise InputError(f"there is no view {name!r} of your own ({nearest(name, writer.state.views)})")
        before = failing(place, writer.state)
        trial = writer.state.next(
            views={other: writer.state.views[other] for other in writer.state.views if other != name}
        )
        _refuse_new(failing(place, trial), before, f"the view {name!r} can't be removed, another depends on it")
        with writer.commit() as commit:
            commit.set_view(name, None)


def failing(place: Place, state: State) -> dict[str, Failure]:
    """The users' views of ``state`` that can't be used, each with the reason."""
    return isolated.failing_views(objects_of(place), state) if state.views else {}


def failing_after(place: Place, state: State, replaced: str) -> dict[str, str]:
    """A message for each failing view, after a commit that replaced the revision ``replaced`` of a backbone."""
    failures = failing(place, state) if replaced and state.views else {}
    return {name: failure.sentence(name) for name, failure in failures.items()}


def _refuse_new(failures: Mapping[str, Failure], known: Collection[str], what: str) -> None:
    """Raise with the message ``what`` if a view fails that is not ``known`` to fail."""
    for name, failure in failures.items():
        if name not in known:
            raise InputError(f"{what} ({name!r} would fail: {failure.reason})")
