"""A store for image embeddings: cleaned metadata, several frozen backbones, one key, plain SQL.

>>> import featurestore
>>> store = featurestore.open("store")                                        # doctest: +SKIP
>>> store.sql("SELECT Genre1, count(*) FROM labeled GROUP BY Genre1")         # doctest: +SKIP
>>> features = store.features("descriptors")                                  # doctest: +SKIP
"""

from featurestore import errors
from featurestore.bundle import open_bundle
from featurestore.features import Arrays, Features
from featurestore.store import BackboneInfo, FeatureStore
from featurestore.store import open_store as open

__all__ = ["Arrays", "BackboneInfo", "FeatureStore", "Features", "errors", "open", "open_bundle"]
