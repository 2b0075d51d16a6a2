"""What is compared: classifier heads over the embeddings of a feature store, next to published figures."""

from typing import TYPE_CHECKING, Any

from featurestore._optional import import_public

if TYPE_CHECKING:
    from benchmarks.heads.registry import head

__all__ = ["head"]

# As in featurestore: what a name needs is imported when the name is used, so that every `--help` starts at once.
_PLACES = {"head": ("benchmarks.heads.registry", "head")}


def __getattr__(name: str) -> Any:
    return import_public(name, _PLACES, globals())


def __dir__() -> list[str]:
    return sorted(__all__)  # without the subpackages that happen to be imported by now
