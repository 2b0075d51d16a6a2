"""A store for image embeddings: cleaned metadata, several frozen backbones, one key, plain SQL.

>>> import featurestore
>>> store = featurestore.open("store")                                        # doctest: +SKIP
>>> store.sql("SELECT Genre1, count(*) FROM labeled GROUP BY Genre1")         # doctest: +SKIP
>>> features = store.features("descriptors")                                  # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from featurestore import errors
from featurestore._optional import import_public

if TYPE_CHECKING:
    from featurestore.backbones.base import Backbone, BackboneSpec, TextBackbone, TextScale
    from featurestore.backbones.custom import from_callable
    from featurestore.backbones.lookup import StoredRevision, find_backbone
    from featurestore.backbones.preprocessing import Preprocessing
    from featurestore.backbones.registry import load as load_backbone
    from featurestore.backbones.texts import embed_texts
    from featurestore.catalog.recipe import Collection
    from featurestore.collections.address import ImageAddress
    from featurestore.collections.images import load_image, thumbnail
    from featurestore.embedding.convert import Conversion, convert_backbone
    from featurestore.embedding.forward import embed_files
    from featurestore.explore.inventory import BackboneInfo
    from featurestore.explore.near import NearPairs, near_by_cosine, near_by_hash
    from featurestore.explore.page.projection import principal_axes
    from featurestore.explore.search import backbone_of
    from featurestore.features.batches import FeatureBatches
    from featurestore.features.bundle import open_bundle
    from featurestore.features.features import Arrays, Features
    from featurestore.features.labels import has_label, label_text
    from featurestore.storage.names import quote_name
    from featurestore.store import FeatureStore
    from featurestore.store import open_store as open
    from featurestore.terminal import visible

__version__ = "1.0.0"  # pyproject.toml and `--version` read it here

__all__ = [
    "Arrays",
    "Backbone",
    "BackboneInfo",
    "BackboneSpec",
    "Collection",
    "Conversion",
    "FeatureBatches",
    "FeatureStore",
    "Features",
    "ImageAddress",
    "NearPairs",
    "Preprocessing",
    "StoredRevision",
    "TextBackbone",
    "TextScale",
    "backbone_of",
    "convert_backbone",
    "embed_files",
    "embed_texts",
    "errors",
    "find_backbone",
    "from_callable",
    "has_label",
    "label_text",
    "load_backbone",
    "load_image",
    "near_by_cosine",
    "near_by_hash",
    "open",
    "open_bundle",
    "principal_axes",
    "quote_name",
    "thumbnail",
    "visible",
]

# NumPy, Arrow and DuckDB take a quarter of a second: they come with the first name that is used, not with the import,
# so that every `--help`, and every program that may not need the store, starts at once.
_PLACES = {
    "Arrays": ("featurestore.features.features", "Arrays"),
    "Backbone": ("featurestore.backbones.base", "Backbone"),
    "BackboneInfo": ("featurestore.explore.inventory", "BackboneInfo"),
    "BackboneSpec": ("featurestore.backbones.base", "BackboneSpec"),
    "Collection": ("featurestore.catalog.recipe", "Collection"),
    "Conversion": ("featurestore.embedding.convert", "Conversion"),
    "FeatureBatches": ("featurestore.features.batches", "FeatureBatches"),
    "FeatureStore": ("featurestore.store", "FeatureStore"),
    "Features": ("featurestore.features.features", "Features"),
    "ImageAddress": ("featurestore.collections.address", "ImageAddress"),
    "NearPairs": ("featurestore.explore.near", "NearPairs"),
    "Preprocessing": ("featurestore.backbones.preprocessing", "Preprocessing"),
    "StoredRevision": ("featurestore.backbones.lookup", "StoredRevision"),
    "TextBackbone": ("featurestore.backbones.base", "TextBackbone"),
    "TextScale": ("featurestore.backbones.base", "TextScale"),
    "backbone_of": ("featurestore.explore.search", "backbone_of"),
    "convert_backbone": ("featurestore.embedding.convert", "convert_backbone"),
    "embed_files": ("featurestore.embedding.forward", "embed_files"),
    "embed_texts": ("featurestore.backbones.texts", "embed_texts"),
    "find_backbone": ("featurestore.backbones.lookup", "find_backbone"),
    "from_callable": ("featurestore.backbones.custom", "from_callable"),
    "has_label": ("featurestore.features.labels", "has_label"),
    "label_text": ("featurestore.features.labels", "label_text"),
    "load_backbone": ("featurestore.backbones.registry", "load"),
    "load_image": ("featurestore.collections.images", "load_image"),
    "near_by_cosine": ("featurestore.explore.near", "near_by_cosine"),
    "near_by_hash": ("featurestore.explore.near", "near_by_hash"),
    "open": ("featurestore.store", "open_store"),
    "open_bundle": ("featurestore.features.bundle", "open_bundle"),
    "principal_axes": ("featurestore.explore.page.projection", "principal_axes"),
    "quote_name": ("featurestore.storage.names", "quote_name"),
    "thumbnail": ("featurestore.collections.images", "thumbnail"),
    "visible": ("featurestore.terminal", "visible"),
}


def __getattr__(name: str) -> Any:
    return import_public(name, _PLACES, globals())


def __dir__() -> list[str]:
    return sorted(__all__)  # without the submodules that happen to be imported by now
