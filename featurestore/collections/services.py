"""Which services may be asked for images: those that the user has named on this machine, never one that a store names.

An address can name a service by ``endpoint_override``. A store comes from anyone: its addresses alone must not send
requests, which are signed with the user's keys, to a host that its author chose.
"""

import hashlib
import logging
import os
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from featurestore.backbones.remembered import settings_folder
from featurestore.errors import StoreError, reason
from featurestore.files import make_folder, write_atomic

# One file for each service, below the settings folder; its name is the hash of the service.
FOLDER = "image-services"
# How S3's own programs name a service.
VARIABLE = "AWS_ENDPOINT_URL"

log = logging.getLogger(__name__)
_named: set[str] = set()


def allow(address: str) -> None:
    """Note that the user has named ``address``, for this process and later ones."""
    service = _service(address)
    if not service or service in _named:
        return
    _named.add(service)
    try:
        path = _note(service)
        if not path.exists():
            make_folder(path.parent)
            write_atomic(path, service.encode())
    except (OSError, RuntimeError) as error:  # RuntimeError: no home folder
        log.warning(
            "that you use %s is not remembered (%s): a later command asks for %s", service, reason(error), VARIABLE
        )


def check(address: str) -> None:
    """Refuse an address of a service that the user has not named.

    Raises
    ------
    StoreError
        When they have not, neither now nor before on this machine.
    """
    service = _service(address)
    if not service or service in _named or service == _normal(os.environ.get(VARIABLE, "")):
        return
    try:
        known = _note(service).exists()
    except (OSError, RuntimeError):
        known = False
    if not known:
        raise StoreError(
            f"the images lie at {service}, which the store says and nobody has named on this machine: if you trust it, "
            f"set {VARIABLE}={service}, or run `featurestore ingest --dry-run --images {address!r}` once"
        )


def _service(address: str) -> str:
    """The service that an address names; empty if it is the usual one of its kind."""
    options = parse_qs(urlsplit(address).query)
    named = options.get("endpoint_override", [""])[-1]
    return _normal(named, scheme=options.get("scheme", ["https"])[-1])


def _normal(service: str, scheme: str = "https") -> str:
    whole = service if "://" in service or not service else f"{scheme}://{service}"
    return whole.rstrip("/").lower()


def _note(service: str) -> Path:
    return settings_folder() / FOLDER / hashlib.sha256(service.encode()).hexdigest()[:32]
