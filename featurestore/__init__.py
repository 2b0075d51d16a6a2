"""A store for image embeddings: cleaned metadata, several frozen backbones, one key, plain SQL.

>>> import featurestore
>>> store = featurestore.open("store")                                        # doctest: +SKIP
>>> store.sql("SELECT Genre1, count(*) FROM labeled GROUP BY Genre1")         # doctest: +SKIP
>>> features = store.features("descriptors")                                  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from featurestore import errors

if TYPE_CHECKING:
    from featurestore.explore.inventory import BackboneInfo
    from featurestore.features.bundle import open_bundle
    from featurestore.features.features import Arrays, Features
    from featurestore.store import FeatureStore
    from featurestore.store import open_store as open

__version__ = "0.1.0"  # pyproject.toml and `--version` read it here

__all__ = ["Arrays", "BackboneInfo", "FeatureStore", "Features", "errors", "open", "open_bundle"]

# NumPy, Arrow and DuckDB take a quarter of a second: they come with the first name that is used, not with the import,
# so that every `--help`, and every program that may not need the store, starts at once.
_PLACES = {
    "Arrays": ("featurestore.features.features", "Arrays"),
    "BackboneInfo": ("featurestore.explore.inventory", "BackboneInfo"),
    "FeatureStore": ("featurestore.store", "FeatureStore"),
    "Features": ("featurestore.features.features", "Features"),
    "open": ("featurestore.store", "open_store"),
    "open_bundle": ("featurestore.features.bundle", "open_bundle"),
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _PLACES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
