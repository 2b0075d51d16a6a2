"""What is compared: classifier heads over the embeddings of a feature store, next to published figures."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.heads.registry import head

__all__ = ["head"]

# As in featurestore: what a name needs is imported when the name is used, so that every `--help` starts at once.
_PLACES = {"head": ("benchmarks.heads.registry", "head")}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _PLACES[name]
    value = getattr(import_module(module), attribute)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted(__all__)  # without the subpackages that happen to be imported by now
