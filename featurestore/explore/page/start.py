"""Starts the explorer of a store, and is what a notebook shows of it; it opens no browser."""

import atexit
import copy
import html
from threading import Thread
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import quote, urlencode

from featurestore.errors import FeatureStoreError, InputError
from featurestore.explore.page import projection
from featurestore.explore.page.answers import chosen, routes
from featurestore.explore.page.columns import columns
from featurestore.explore.page.server import CLOSING_SECONDS, PageServer
from featurestore.explore.page.shown import ShownStore
from featurestore.features.rows import backbone_names

if TYPE_CHECKING:
    from featurestore.explore.explorer import Explorer

FRAME_HEIGHT = 760


class Exploration:
    """A running explorer; `close` ends it, and so does the end of the process.

    Attributes
    ----------
    url
        The address of the page: whoever has it can use the explorer, from this machine alone.
    """

    def __init__(self, store: "Explorer", server: PageServer, fragment: str, *, first: Thread) -> None:
        self._store = store
        self._server = server
        self._first = first
        self._fragment = fragment
        self.url = server.url + fragment
        atexit.register(self.close)

    def __repr__(self) -> str:
        return f"<Exploration of {self._store.location!r} at {self.url}>"

    def _repr_html_(self) -> str:
        """The page in a frame, for notebooks whose browser runs on this machine."""
        url = html.escape(self.url, quote=True)
        return (
            f'<iframe src="{url}" title="Explorer of the store" width="100%" height="{FRAME_HEIGHT}" '
            f'style="border: 1px solid #8884"></iframe><p><a href="{url}" target="_blank" rel="noreferrer">'
            "Open the explorer in a page of its own</a>; it is served to this machine alone.</p>"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def entrance(self) -> str:
        """An address that opens the page once, within a minute: a browser that is started with it shows it to others.

        On a machine with several users each of them can list the processes with their arguments.
        """
        return self._server.entrance() + self._fragment

    def wait(self) -> None:
        """Return when the explorer was closed."""
        self._server.wait()

    def close(self) -> None:
        """Stop serving; the page that is open says so at its next question."""
        atexit.unregister(self.close)
        self._server.close()
        self._first.join(CLOSING_SECONDS)
        self._store.close()


def explore(
    store: "Explorer",
    *,
    backbone: str | None = None,
    map: str = projection.PCA,
    where: str | None = None,
    port: int = 0,
    read_only: bool = False,
) -> Exploration:
    """See `FeatureStore.explore`."""
    own = copy.copy(store)  # refreshed when the page is loaded, which must not change the caller's object
    own.isolated = True  # what is typed into the page
    _ = own.state  # raises if there is no store
    start = {} if where is None else {"q": where}
    if where is not None:
        chosen(own, where)  # raises before a browser opens
    if backbone is not None or map != projection.PCA:
        start |= _map_asked(own, backbone, map)
    changes_nothing = read_only or own.snapshot_name is not None or own.location.startswith("file://")
    server = PageServer(routes(ShownStore(own, changes_nothing)), port=port)
    fragment = "#" + urlencode(start, quote_via=quote) if start else ""
    first = Thread(target=_prepare, args=(own, start.get("b"), map, server), name="explorer: first map", daemon=True)
    first.start()
    return Exploration(own, server, fragment, first=first)


def _map_asked(store: "Explorer", backbone: str | None, method: str) -> dict[str, str]:
    """The start of the page with that backbone and map, which must be there."""
    if backbone is None:
        backbone = next(iter(sorted(store.state.revisions)), None)
    if backbone is None:
        raise InputError("the store has no backbone yet, and so no map: run `featurestore embed` first")
    backbone_names(store, backbone)
    if method != projection.PCA:
        projection.all_points(store, backbone, method)
    return {"b": backbone, "m": method}


def _prepare(store: "Explorer", backbone: str | None, method: str, server: PageServer) -> None:
    """Compute the first map, and count values, while the browser starts; the page is told what went wrong."""
    names = sorted(store.state.revisions) if backbone is None else [backbone]
    try:
        with store.reading() as seen:
            for name in names[:1]:
                projection.points(seen, name, method)
            if not server.closed:
                columns(seen)  # of a million images this takes a second
    except FeatureStoreError:
        return
