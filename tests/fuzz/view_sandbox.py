"""A store that somebody else wrote, with views of any SQL, used in each way: nothing but its rows is shown."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from featurestore import FeatureStore
from featurestore.commands.formats import FORMS
from featurestore.errors import FeatureStoreError
from fuzz.oracles import Port, Scratch, files_of, sentence

# Seconds of the processor that one use of a view may take: what runs longer is interrupted, as by Ctrl-C.
SECONDS = 2.0
Use = Callable[[FeatureStore, str], object]
# Each gets the store and the name of a view.
USES: dict[str, Use] = {
    "sql": lambda store, view: store.sql(f"FROM {view} LIMIT 50"),
    "query": lambda store, view: store.query(f"FROM {view} LIMIT 50"),
    "text": lambda store, view: store.sql(f"SELECT {view}::VARCHAR FROM {view} LIMIT 50"),
    "describe": lambda store, view: store.sql(f"DESCRIBE {view}"),
    "summarize": lambda store, view: store.sql(f"SUMMARIZE {view}"),
    "features": lambda store, view: store.features("counting", view=view).table,
    "columns": lambda store, view: store.columns(view),
    "where": lambda store, view: store.similar(101, backbone="counting", where=f"ImgId IN (SELECT ImgId FROM {view})"),
    "corrected": lambda store, view: store.corrected(view, "Genre1"),
}
# Each gets the store, and the name of its last view; done once.
USES_OF_ALL: dict[str, Use] = {
    "schema": lambda store, view: store.schema(),
    "failing": lambda store, view: store.failing_views,
    "another": lambda store, view: store.create_view("another", f"SELECT ImgId FROM {view}"),
}


class TooLong(KeyboardInterrupt):
    """Raised by the timer, where a person would have pressed Ctrl-C."""


class ViewSandbox:
    """A store in a folder whose name is a canary; canaries are in files around and in it, and in the environment.

    A view can name those files by relative paths, and one by its absolute path, without writing the canary itself.
    """

    CANARY = "canary-3e9a41"

    def __init__(self, build: Callable[[Path], FeatureStore], seal: Callable[..., None]) -> None:
        self._scratch, self._seal = Scratch(), seal
        root = self._scratch.path
        built = build(root)
        built.create_snapshot("clean")
        home = root / self.CANARY
        home.mkdir()
        self.path = home / "store"
        built.close()
        os.replace(built.path, self.path)
        secret = f"a,b\n{self.CANARY},1\n"
        self.secret = self._scratch.write("secret.csv", secret.encode())
        for name in ("secret.csv", "store/secret.csv", "store/movies/secret.csv", "store/manifests/secret.json"):
            (home / name).write_text(secret)
        self._environment = {"FUZZ_CANARY": self.CANARY, "HOME": str(home), "FEATURESTORE_CONFIG": str(home / "c")}
        os.chdir(home)
        seal(self.path / "state.json", settings={"top_genres": 8, self.CANARY: self.CANARY})
        state = FeatureStore(self.path).state
        # What the records hold besides rows: no view has any business with it.
        self._canaries = [self.CANARY, state.store, state.commit, *state.tables.values()]
        self._clean = (self.path / "state.json").read_bytes()
        self.port = Port()
        self._before = files_of(root)
        signal.signal(signal.SIGPROF, _too_long)

    def fill(self, text: str) -> str:
        """``text`` with the places of the canaries in it."""
        part = next(self.path.glob("movies/part-*.parquet")).relative_to(self.path.parent)
        places = {"SECRET": str(self.secret), "PART": str(part), "PORT": str(self.port.number), "OUT": "out.csv"}
        for word, place in places.items():
            text = text.replace(word, place)
        return text

    def run(self, texts: Mapping[str, str]) -> None:
        """Put views into the record of the state, as their author may have done, and use each in every way."""
        os.environ |= self._environment  # DuckDB reads it when it is opened
        state = self.path / "state.json"
        try:
            self._seal(state, views={name: self.fill(text) for name, text in texts.items()})
        except UnicodeEncodeError:  # a text that no record can hold
            state.write_bytes(self._clean)
            return
        shown = f"of the views {dict(texts)!r}"
        try:
            with FeatureStore(self.path) as store:
                for name in texts:
                    self._use(store, name, USES, shown)
                self._use(store, name, USES_OF_ALL, shown)
        finally:
            self._restore()
        assert files_of(self._scratch.path).keys() == self._before.keys(), f"files changed {shown}"
        assert not self.port.visits, f"the network was reached {shown}"

    def _use(self, store: FeatureStore, view: str, uses: Mapping[str, Use], shown: str) -> None:
        for use, action in uses.items():
            seen = self._told(lambda action=action: action(store, view))
            for canary in self._canaries:
                assert canary.encode() not in seen, f"{use} showed {canary} {shown}: {seen[:2000]!r}"

    def _restore(self) -> None:
        """The record as it was, and none that a use has added."""
        known = self._before.keys()
        (self.path / "state.json").write_bytes(self._clean)
        for path in [*self.path.glob("manifests/*.json"), *self.path.glob("*/part-*.parquet")]:
            if str(path) not in known:
                path.unlink()

    def _told(self, action: Callable[[], object]) -> bytes:
        """All bytes that came of ``action``: a result in two forms, or an error with what caused it."""
        try:
            with _limited():
                found = action()
                if isinstance(found, pa.Table):
                    return b"".join(FORMS["arrow"](found)) + repr(found.schema).encode()
            return repr(found).encode("utf-8", "replace")
        except TooLong:
            return b""
        except FeatureStoreError as error:
            sentence(error)
            return b" ".join(str(one).encode("utf-8", "replace") for one in _chain(error))


@contextmanager
def _limited() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_PROF, SECONDS, 0.5)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _too_long(number: int, frame: object) -> None:
    raise TooLong


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
