"""Containers of images: files that hold many, which are read from where they are; one module for each kind."""

from pathlib import Path

from featurestore.collections.containers.base import Container, ContainerRows
from featurestore.collections.containers.datasets_folder import datasets_files, is_arrow, is_datasets_folder, open_arrow
from featurestore.collections.containers.names import split_of
from featurestore.collections.containers.parquet import open_parquet
from featurestore.collections.containers.tar import is_tar, open_tar
from featurestore.errors import InputError
from featurestore.files import open_file, why

__all__ = [
    "Container",
    "ContainerRows",
    "datasets_files",
    "is_container_name",
    "is_datasets_folder",
    "open_container",
    "split_of",
]

# What is read to tell what a file is.
BLOCK = 512
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
SUFFIXES = (".parquet", ".arrow", ".tar", *COMPRESSED)


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
            start = file.read(BLOCK)
    except OSError as error:
        raise InputError(f"{str(path)!r} can't be read: {why(error)}") from error
    if start.startswith(b"PAR1"):
        return open_parquet(path)
    if is_arrow(start):
        return open_arrow(path)
    if is_tar(start):
        return open_tar(path)
    if path.name.lower().endswith(COMPRESSED):
        raise InputError(
            f"{str(path)!r} is a compressed tar, whose images can't be read singly: unpack it, or pack it as .tar"
        )
    if path.name.lower().endswith(".tar") and start == bytes(BLOCK):
        return None  # without a member
    if is_container_name(path.name):
        raise InputError(f"{str(path)!r} does not begin as a file of its name does: it is damaged, or misnamed")
    return None
