"""Bucket: the files of a store on an object store, through obstore; it caches nothing."""

import configparser
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from featurestore._optional import import_extra
from featurestore.errors import AccessDenied, StoreError, reason
from featurestore.files import MEGABYTE
from featurestore.storage.objects import Entry, Tag, limited

# The query parameters that an address may have.
OPTIONS = ("endpoint_override", "region", "scheme")
REGION = re.compile("[A-Za-z0-9-]*")
# Reading a part may take long; a connection without data for this many seconds is retried.
CLIENT = {"timeout": "24h", "read_timeout": "60s"}
RETRIES = {"max_retries": 3}
# Whoever swaps a file must know whether an attempt failed: it may have been done, and another one is refused then.
ONCE = {"max_retries": 0}
DELETING = 4
# The same for an hour's work: for one or two minutes, with growing pauses.
PATIENT = {
    "max_retries": 10,
    "backoff": {"init_backoff": timedelta(seconds=1), "max_backoff": timedelta(seconds=15), "base": 3},
}
# Bytes of the largest file that is put in one request. None is put in several: what an interrupted writer leaves
# of one is billed, and obstore can't list it for `gc` to remove.
LARGEST_PUT = 5 << 30
# Maximum number of names in a listing, far more than in any store.
MAX_LISTED = 1_000_000
# The same of a whole bucket, of which a collection of images can be.
MAX_EVERYTHING = 20_000_000
# As many as S3 returns at once.
PAGE = 1000
KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
# The process that first used obstore: its threads don't exist in a forked child, which would wait for them forever.
_used_by: int | None = None


class ListedObject(NamedTuple):
    """An object in a listing; ``etag`` is None where the object store has none."""

    name: str
    size_bytes: int
    etag: str | None
    changed_ns: int


class Bucket:
    """The files of the store at ``address``: ``s3://BUCKET/PATH?region=…&endpoint_override=HOST:PORT&scheme=http``.

    For other object stores, addresses have obstore's form, such as ``gs://BUCKET/PATH``. ``holds`` is what lies there;
    a ``patient`` one is not stopped by an interruption of a minute.

    Raises
    ------
    MissingExtra
        When obstore is not installed.
    StoreError
        When the address is invalid.
    """

    def __init__(self, address: str, *, holds: str = "store", patient: bool = False) -> None:
        self.address, self._holds = address, holds
        self._obstore: Any = import_extra("obstore", "s3", needed_by=f"a {holds} on an object store ({address[:80]})")
        with self._reaching():
            self._store = _connect(address, PATIENT if patient else RETRIES)
            self._once = _connect(address, ONCE)

    def where(self, name: str) -> str:
        """See `Objects.where`."""
        return f"the object {name!r} of {self.address!r}"

    def read(self, name: str, *, limit: int) -> Iterator[bytes]:
        """See `Objects.read`."""
        with self._reaching():
            blocks = self._obstore.get(self._store, name).stream(min_chunk_size=MEGABYTE)
            yield from limited(blocks, self.where(name), limit=limit)

    def load(self, name: str, *, limit: int) -> tuple[bytes, Tag]:
        """See `Objects.load`."""
        with self._reaching():
            found = self._obstore.get(self._store, name)
            content = b"".join(limited(found.stream(min_chunk_size=MEGABYTE), self.where(name), limit=limit))
            return content, Tag(found.meta["e_tag"], found.meta["version"])

    def put(self, name: str, file: Path) -> None:
        """See `Objects.put`."""
        if file.stat().st_size > LARGEST_PUT:
            raise StoreError(f"{self.where(name)} would have more than {LARGEST_PUT:,} bytes: write to a folder")
        with self._reaching("written"):
            self._obstore.put(self._store, name, file, use_multipart=False)

    def swap(self, name: str, content: bytes, tag: Tag | None) -> Tag | None:
        """See `Objects.swap`; the object store compares and writes in one step."""
        mode = "create" if tag is None else {kind: text for kind, text in tag._asdict().items() if text is not None}
        if not mode:
            raise StoreError(
                f"{self.where(name)} has no ETag, so that a change by others would be missed: use a folder"
            )
        with self._reaching("written"):
            try:
                put = self._obstore.put(self._once, name, content, mode=mode, use_multipart=False)
            except (self._obstore.exceptions.AlreadyExistsError, self._obstore.exceptions.PreconditionError):
                return None
            except FileNotFoundError:  # also where there is no such bucket
                if tag is None:
                    raise StoreError(f"there is no bucket for {self.address!r}: create it first") from None
                return None
            return Tag(put["e_tag"], put["version"])

    def delete(self, names: Sequence[str]) -> None:
        """See `Objects.delete`."""
        with self._reaching("written"), suppress(FileNotFoundError):
            for left in reversed(range(DELETING)):  # the library does not repeat it, since it can't know that it may
                try:
                    self._obstore.delete(self._store, list(names))
                    return
                except self._obstore.exceptions.BaseError:
                    if not left:
                        raise

    def list(self, folder: str) -> Iterator[str]:
        """See `Objects.list`; subfolders are skipped."""
        yield from (entry.name for entry in self.entries(folder) if entry.name.rpartition("/")[0] == folder)

    def entries(self, folder: str = "") -> Iterator[Entry]:
        """See `Objects.entries`."""
        listed = 0
        with self._reaching():
            for page in self._obstore.list(self._store, prefix=folder or None, chunk_size=PAGE):
                listed += len(page)
                if listed > MAX_LISTED:
                    raise StoreError(f"{self.where(folder)} holds more than {MAX_LISTED:,} objects: no store does")
                yield from map(_entry, page)

    def entry(self, name: str) -> Entry | None:
        """See `Objects.entry`."""
        with self._reaching():
            try:
                return _entry(self._obstore.head(self._store, name))
            except FileNotFoundError:
                return None

    def everything(self) -> Iterator[ListedObject]:
        """Everything at the address and below, unordered, read by pages.

        Raises
        ------
        StoreError
            When it can't be listed, or there is no such bucket.
        """
        listed = 0
        with self._reaching():
            for page in self._obstore.list(self._store, chunk_size=PAGE):
                listed += len(page)
                if listed > MAX_EVERYTHING:
                    raise StoreError(f"{self.address!r} holds more than {MAX_EVERYTHING:,} objects: name a part of it")
                for item in page:
                    changed_ns = int(item["last_modified"].timestamp() * 1_000_000) * 1000
                    yield ListedObject(item["path"], item["size"], item["e_tag"], changed_ns)

    @contextmanager
    def _reaching(self, done: str = "read") -> Iterator[None]:
        """Turn obstore's errors in the block into one sentence, except that an object does not exist."""
        global _used_by
        if _used_by is None:
            _used_by = os.getpid()
        if _used_by != os.getpid():
            raise StoreError(
                f"the {self._holds} at {self.address!r} can't be read in this process: it was forked from one that had "
                "read an object store, whose connections don't work here; start processes with the method 'spawn', or "
                "read the data in the parent"
            )
        try:
            yield
        except self._obstore.exceptions.InvalidPathError as error:
            raise StoreError(
                f"the {self._holds} at {self.address!r} can't be {done} ({reason(error)[:240]}): rename or remove that "
                "object"
            ) from error
        except self._obstore.exceptions.BaseError as error:
            denied = isinstance(error, self._obstore.exceptions.PermissionDeniedError)
            raise (AccessDenied if denied else StoreError)(
                f"the {self._holds} at {self.address!r} can't be {done} ({_said(error)[:240]}): check address and "
                "permissions"
            ) from error


def _said(error: Exception) -> str:
    """The sentence of the service in its answer, or what obstore says."""
    return str(error).partition("<Message>")[2].partition("</Message>")[0] or reason(error)


def _entry(item: Any) -> Entry:
    return Entry(item["path"], item["size"], item["last_modified"].timestamp())


def _connect(address: str, retries: dict[str, Any]) -> Any:
    """The client for ``address``; no request is sent yet."""
    store = import_extra("obstore.store", "s3", needed_by="a store on an object store")
    if not address.startswith("s3://"):
        return store.from_url(address, retry_config=retries)
    url = urlsplit(address)
    options = dict(parse_qsl(url.query))
    if "@" in url.netloc:  # it would appear in messages
        raise StoreError("got an address that contains keys: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead")
    wrong = sorted(set(options) - set(OPTIONS))
    wrong += [] if REGION.fullmatch(options.get("region", "")) else ["region"]  # it becomes part of a host's name
    if not url.netloc or url.fragment or wrong or options.get("scheme", "https") not in ("http", "https"):
        raise StoreError(
            f"got the address {address!r}, expected s3://BUCKET/PATH, optionally with ?region=…, "
            "&endpoint_override=HOST:PORT and &scheme=http: check the address"
        )
    scheme, endpoint = options.get("scheme", "https"), options.get("endpoint_override", "")
    if "://" not in endpoint:
        endpoint = f"{scheme}://{endpoint}" if endpoint else ""
    config = _keys() | {"endpoint": endpoint, "region": options.get("region", "")}
    return store.S3Store(
        url.netloc,
        prefix=unquote(url.path).strip("/") or None,
        config={name: value for name, value in config.items() if value},
        client_options={**CLIENT, "allow_http": endpoint.startswith("http://")},
        retry_config=retries,
    )


def _keys() -> dict[str, str]:
    """The keys that `aws configure` wrote, if the environment has none; obstore itself only reads the environment."""
    if not {"AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"}.isdisjoint(os.environ):
        return {}
    file = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    profiles = configparser.RawConfigParser()
    try:
        profiles.read(file, "utf-8")
    except (OSError, ValueError, configparser.Error) as error:
        raise StoreError(f"{str(file)!r} can't be read ({reason(error)[:160]}): correct it, or remove it") from error
    profile = os.environ.get("AWS_PROFILE", "default")
    return {name: profiles[profile][name] for name in KEYS if profiles.has_option(profile, name)}
