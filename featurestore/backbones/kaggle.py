"""Downloads Kaggle's models and data sets through kagglehub and its cache, and explains failed downloads."""

import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from featurestore._optional import import_extra
from featurestore.errors import BackboneError, InputError
from featurestore.quiet import aloud
from featurestore.terminal import unguarded


def model(handle: str) -> Path:
    """The folder of a model such as ``google/resnet-v2/tensorFlow2/50-feature-vector/2``, downloaded at most once.

    Raises
    ------
    BackboneError
        When it is not in kagglehub's cache and can't be downloaded.
    """
    try:
        return _get(_kagglehub().model_download, handle)
    except _Unavailable as error:
        raise BackboneError(
            f"the weights {handle!r} can't be downloaded ({error}): run `featurestore fetch` where there is a network, "
            "or name a local SavedModel with --weights DIR"
        ) from error


def dataset(handle: str) -> Path:
    """The folder of a data set such as ``neha1703/movie-genre-from-its-poster``, downloaded at most once.

    Raises
    ------
    InputError
        When it can't be downloaded.
    """
    try:
        return _get(_kagglehub().dataset_download, handle)
    except _Unavailable as error:
        raise InputError(
            f"the data set {handle!r} can't be downloaded ({error}): try again where there is a network, "
            f"or download it by hand from https://www.kaggle.com/datasets/{handle}"
        ) from error


class _Unavailable(Exception):
    """A download failed; the message is the reason alone."""


def _kagglehub() -> Any:
    return import_extra("kagglehub", "tensorflow", needed_by="a download from Kaggle")


def _get(download: Callable[[str], str], handle: str) -> Path:
    try:
        with aloud(), redirect_stderr(unguarded(sys.stderr)):  # its progress bars move the cursor
            return Path(download(handle))
    except Exception as error:  # kagglehub passes on errors of its HTTP client, archive reader and file system
        raise _Unavailable(_reason(error)) from error


def _reason(error: Exception) -> str:
    requests = import_extra("requests", "tensorflow", needed_by="a download from Kaggle")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return f"Kaggle denies access with HTTP {status}, log in as kagglehub's README says"
    if status is not None:
        return f"Kaggle answers with HTTP {status}"
    if isinstance(error, (ConnectionError, requests.exceptions.ConnectionError, requests.exceptions.Timeout)):
        return "no connection to Kaggle"
    first_line = (str(error).strip().splitlines() or [""])[0]
    return f"{type(error).__name__}: {first_line[:150]}".removesuffix(": ")
