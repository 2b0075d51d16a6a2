"""What is compared: classifier heads over the embeddings of a feature store, next to published figures.

>>> import benchmarks
>>> comparison = benchmarks.compare("store", heads=["knn", "ridge"], quick=True)       # doctest: +SKIP
>>> comparison = benchmarks.compare({"clip": X1, "dino": X2}, y)                        # doctest: +SKIP
>>> comparison.to_pandas(), comparison.best, comparison.differences()                   # doctest: +SKIP
>>> benchmarks.significance(comparison.predictions(), metric="log_loss")                # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

from featurestore._optional import import_public

if TYPE_CHECKING:
    from benchmarks.api.compare import compare
    from benchmarks.api.comparison import Comparison
    from benchmarks.api.significance import significance
    from benchmarks.heads.registry import head

__all__ = ["Comparison", "compare", "head", "significance"]

# As in featurestore: what a name needs is imported when the name is used, so that every `--help` starts at once.
_PLACES = {
    "Comparison": ("benchmarks.api.comparison", "Comparison"),
    "compare": ("benchmarks.api.compare", "compare"),
    "head": ("benchmarks.heads.registry", "head"),
    "significance": ("benchmarks.api.significance", "significance"),
}


def __getattr__(name: str) -> Any:
    return import_public(name, _PLACES, globals())


def __dir__() -> list[str]:
    return sorted(__all__)  # without the subpackages that happen to be imported by now
