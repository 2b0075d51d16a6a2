"""Containers of images: files that hold many, which are read from where they are; one module for each kind."""

from pathlib import Path

from featurestore.collections.containers.base import Container, ContainerRows
from featurestore.collections.containers.names import split_of
from featurestore.collections.containers.parquet import open_parquet
from featurestore.errors import InputError
from featurestore.files import open_file, why

__all__ = ["Container", "ContainerRows", "is_container_name", "open_container", "split_of"]

SUFFIXES = (".parquet",)


def is_container_name(name: str) -> bool:
    """Whether a file of this name may be a container; `open_container` decides it."""
    return name.lower().endswith(SUFFIXES)


def open_container(path: Path) -> Container | None:
    """The container in the file ``path``, by its first bytes; None when it is no container, or holds no images.

    Raises
    ------
    InputError
        When the file can't be read, is damaged, or its name promises a container that it is not.
    """
    try:
        with open_file(path) as file:
            start = file.read(512)
    except OSError as error:
        raise InputError(f"{str(path)!r} can't be read: {why(error)}") from error
    if start.startswith(b"PAR1"):
        return open_parquet(path)
    if is_container_name(path.name):
        raise InputError(f"{str(path)!r} does not begin as a file of its name does: it is damaged, or misnamed")
    return None
