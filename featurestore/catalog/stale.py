"""A reader whose state was tidied away by another process: says so in place of the error that a missing file gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from featurestore.errors import IntegrityError, QueryError, StoreError
from featurestore.storage.state import read_state

if TYPE_CHECKING:
    from featurestore.store import FeatureStore


@contextmanager
def explained(store: "FeatureStore") -> Iterator[None]:
    """Run the block, which reads ``store``.

    Raises
    ------
    StoreError
        When it fails because `gc` removed parts that the state of ``store`` refers to, and there is a newer state.
    """
    try:
        yield
    except (IntegrityError, QueryError) as error:
        if not _tidied_away(store):
            raise
        raise StoreError(
            f"the store {store.location!r} was tidied by another process after this reader opened it, and what the "
            "reader saw is gone: call `refresh()`, or open the store again"
        ) from error


def _tidied_away(store: "FeatureStore") -> bool:
    """Whether the folder has another state by now, and files of the one that ``store`` sees are gone."""
    if store.snapshot_name is not None or read_state(store.path).id == store.state.id:
        return False
    layout = store.__dict__.get("layout")  # not read yet: reading it is what failed
    return layout is None or any(
        not (store.path / table / part.path).is_file() for table, parts in layout.parts.items() for part in parts
    )
