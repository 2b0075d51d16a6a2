"""Where work runs beyond this process: connects to a Ray cluster, and calls functions there; it knows no store."""

import os
import platform
import re
import socket
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pickle import PicklingError
from typing import Any

from featurestore._optional import import_extra
from featurestore.errors import ClusterError, FeatureStoreError, InputError, WorkerLost, in_one_line, reason, shortened
from featurestore.files import why
from featurestore.quiet import muted

AUTO = "auto"  # the cluster that this process or this machine belongs to
ADDRESS = re.compile(r"(ray://)?([A-Za-z0-9][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:]{2,39}\]):([0-9]{1,5})")
# How Ray is told to ask for a token; it reads this when it is imported.
AUTHENTICATION, TOKEN, WITHOUT = "RAY_AUTH_MODE", "token", "disabled"
ANSWER = 5.0  # seconds to wait for a port


@dataclass(frozen=True)
class Need:
    """What one call or one worker takes of a node; fractions are shares of a CPU or a GPU."""

    cpus: float = 1.0
    gpus: float = 0.0

    def check(self) -> None:
        """Raise `InputError` unless both are 0 or more, and one is more."""
        if not (self.cpus >= 0 and self.gpus >= 0 and 0 < self.cpus + self.gpus < float("inf")):
            raise InputError(
                f"got {self.cpus:g} CPUs and {self.gpus:g} GPUs for each worker, expected 0 and more, not none"
            )

    def __str__(self) -> str:
        return f"{self.cpus:g} CPUs" + (f" and {self.gpus:g} GPUs" if self.gpus else "")


ONE = Need()


@dataclass(frozen=True)
class ClusterNode:
    """One living machine of a cluster, with all of its CPUs and GPUs, whether in use or not."""

    id: str
    address: str
    cpus: float
    gpus: float

    def holds(self, need: Need) -> int:
        """The number of workers that fit on it."""
        places = [have // want for have, want in ((self.cpus, need.cpus), (self.gpus, need.gpus)) if want]
        return int(min(places, default=0))


@dataclass(frozen=True, eq=False)
class Call:
    """A call that was sent to a cluster; `Cluster.result` returns what came of it."""

    reference: Any


@dataclass(frozen=True, eq=False)
class RemoteWorker:
    """An object in a process of its own on a node of a cluster, see `Cluster.worker`; it is not restarted."""

    actor: Any
    started: Call  # ends when the object has been created; its result is None

    def call(self, method: str, *arguments: Any) -> Call:
        """Call a method of the object; its calls run one after another."""
        return Call(self.actor.call.remote(method, arguments))


class Cluster:
    """A connection to a cluster; `connect` opens one."""

    def __init__(self, ray: Any, address: str) -> None:
        self._ray = ray
        self.address = address

    def nodes(self) -> list[ClusterNode]:
        """The living nodes."""
        with self._errors():
            found = self._ray.nodes()
        return [
            ClusterNode(one["NodeID"], one["NodeManagerAddress"], held.get("CPU", 0.0), held.get("GPU", 0.0))
            for one in found
            if one["Alive"]
            for held in [one["Resources"]]
        ]

    def places(self, need: Need) -> int:
        """The number of workers or calls that fit on all nodes together, at least 1.

        Raises
        ------
        ClusterError
            When no node has what one needs.
        """
        need.check()
        places = sum(node.holds(need) for node in self.nodes())
        if not places:
            raise ClusterError(f"no node of the cluster at {self.address!r} has {need}: ask for less, or add a node")
        return places

    def put(self, value: Any) -> Any:
        """Send ``value`` once; functions that get what is returned get the value. `InputError` if it can't be."""
        try:
            with self._errors():
                return self._ray.put(value)
        except (TypeError, AttributeError, PicklingError) as error:
            raise InputError(f"this can't be sent to a cluster ({reason(error)[:200]}): define it in a file") from error

    def submit(self, function: Callable[..., Any], *arguments: Any, need: Need = ONE) -> Call:
        """Call a function of an installed module on some node, once; a call that was lost is not repeated."""
        with self._errors():
            remote = self._ray.remote(function).options(num_cpus=need.cpus, num_gpus=need.gpus, max_retries=0)
            return Call(remote.remote(*arguments))

    def worker(self, kind: Callable[..., Any], *arguments: Any, need: Need = ONE) -> RemoteWorker:
        """Create an object, ``kind(*arguments)``, in a process of its own on some node."""
        with self._errors():
            options = {"num_cpus": need.cpus, "num_gpus": need.gpus, "max_restarts": 0, "max_task_retries": 0}
            actor = self._ray.remote(_Holder).options(**options).remote()
            return RemoteWorker(actor, Call(actor.create.remote(kind, *arguments)))

    def end(self, worker: RemoteWorker) -> None:
        """End the process of a worker at once."""
        with suppress(Exception):  # it may have ended
            self._ray.kill(worker.actor)

    def cancel(self, call: Call) -> None:
        """End a call of `submit` at once, with its process if it runs."""
        with suppress(Exception):  # it may have ended
            self._ray.cancel(call.reference, force=True)

    def ended(self, calls: Collection[Call], *, seconds: float | None = None) -> list[Call]:
        """Wait until one of ``calls`` has ended, or for so many seconds, and return those that have."""
        by_reference = {call.reference: call for call in calls}
        references = list(by_reference)
        with self._errors():
            first = self._ray.wait(references, num_returns=1, timeout=seconds)[0] if references else []
            done = self._ray.wait(references, num_returns=len(references), timeout=0)[0] if first else []
        return [by_reference[reference] for reference in done]

    def result(self, call: Call) -> Any:
        """Wait for a call, and return what it returned.

        Raises
        ------
        WorkerLost
            When its process, or its node, ended before it did, or it was cancelled.
        FeatureStoreError
            As the function did; `ClusterError` in place of any other error.
        """
        with self._errors():
            return self._ray.get(call.reference)

    def each(
        self, submit: Callable[[Any], Call], items: Iterable[Any], *, in_flight: int
    ) -> Generator[tuple[Any, Call]]:
        """Submit a call for each of ``items``, at most so many at a time, and yield both as calls end."""
        left, running = iter(items), dict[Call, Any]()
        try:
            while True:
                for item in left:
                    running[submit(item)] = item
                    if len(running) >= in_flight:
                        break
                if not running:
                    return
                for call in self.ended(running):
                    yield running.pop(call), call
        finally:
            for call in running:
                self.cancel(call)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the errors of Ray into errors of this package."""
        errors = self._ray.exceptions
        try:
            yield
        except errors.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, FeatureStoreError):
                raise cause from None
            what = f"{type(cause).__name__}: {shortened(reason(cause), 300)}"
            raise ClusterError(f"a worker of the cluster at {self.address!r} failed ({what})") from error
        except errors.RayError as error:  # a process, a node or an object was lost, or the call was cancelled
            raise WorkerLost(
                f"a worker of the cluster at {self.address!r} was lost ({type(error).__name__}): look at its node"
            ) from error
        except (ConnectionError, TimeoutError) as error:
            raise ClusterError(
                f"the connection to the cluster at {self.address!r} was lost ({reason(error)}): run the command again"
            ) from error


class _Holder:
    """Holds the object of a `RemoteWorker`. Errors of the constructor are then errors of a call, with their cause."""

    def __init__(self) -> None:
        self._held: Any = None

    def create(self, kind: Callable[..., Any], *arguments: Any) -> None:
        self._held = kind(*arguments)

    def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        return getattr(self._held, method)(*arguments)


@contextmanager
def connect(on: str) -> Iterator[Cluster]:
    """Connect to a Ray cluster; at the end of the block its workers and calls are ended.

    Parameters
    ----------
    on
        ``ray://HOST:PORT``, a Ray Client server; ``HOST:PORT``, for a machine that is a node of the cluster; ``auto``,
        the cluster that this process is connected to, or that of this machine. Nothing is started.

    Raises
    ------
    InputError
        When it is something else.
    ClusterError
        When nothing answers there, or the token or a version is another. `MissingExtra` without Ray.
    """
    host, port = _parsed(on)
    _require_token(host)
    _knock(on, host, port)
    ray = import_extra("ray", "cluster", needed_by="a cluster")
    if ray.is_initialized():
        if on != AUTO:
            raise ClusterError(f"this process is connected to a Ray cluster: name it 'auto' instead of {on!r}")
        yield Cluster(ray, on)
        return
    try:  # of a machine with several addresses, take the one that its node was started with
        mine = {"_node_ip_address": host} if on != AUTO and not on.startswith("ray://") and _is_loopback(host) else {}
        with muted():  # a wrong token is a line of C++ on stderr each second
            ray.init(address=on, log_to_driver=False, logging_level="ERROR", **mine)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise ClusterError(
            f"can't join the Ray cluster at {on!r} ({shortened(in_one_line(error), 300)}): it must run with the token, "
            f"and with Ray {ray.__version__} and Python {platform.python_version()}, of this machine"
        ) from error
    internal: Any = import_extra("ray._private.worker", "cluster", needed_by="a cluster")
    internal._worker_logs_enabled = False  # no option keeps what happens on nodes off stdout, where results are
    try:
        yield Cluster(ray, on)
    finally:
        ray.shutdown()


def _parsed(on: str) -> tuple[str, int]:
    """The host and the port; an empty host for ``auto``."""
    if on == AUTO:
        return "", 0
    found = ADDRESS.fullmatch(on)
    port = int(found[3]) if found else 0
    if not found or not 0 < port < 65536:
        raise InputError(f"got the cluster {on[:80]!r}, expected ray://HOST:PORT, HOST:PORT or auto")
    return found[2].strip("[]"), port


def _require_token(host: str) -> None:
    """Have Ray authenticate itself with a token; only on this machine may that be turned off."""
    mode = os.environ.setdefault(AUTHENTICATION, TOKEN)
    if mode.lower() == WITHOUT and not _is_loopback(host):
        raise ClusterError(
            f"{AUTHENTICATION}={mode} would let whoever reaches the ports of the cluster run code: start the cluster "
            f"with {AUTHENTICATION}={TOKEN}, and leave {AUTHENTICATION} out here"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _knock(on: str, host: str, port: int) -> None:
    """Ask whether anything listens: Ray itself would try for half a minute, and not say what is wrong."""
    try:
        if host:
            socket.create_connection((host, port), ANSWER).close()
    except OSError as error:
        raise ClusterError(
            f"no cluster answers at {on!r} ({why(error)}): start one with `ray start`, or fix it"
        ) from error
