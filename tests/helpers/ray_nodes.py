"""Nodes of a Ray cluster on loopback addresses, which look like machines of their own, and their ends."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Ray gives its workers the ports from 10002 to 19999.
FIRST_PORT, LAST_PORT = 20_000, 29_999
STARTED = "Ray runtime started"
# Seconds in which a node must start on a machine that is busy with other tests.
PATIENCE = 180.0


@dataclass
class RayNode:
    """A node that `ray start --block` keeps running; ended by its processes' ids, never by `ray stop`."""

    process: subprocess.Popen[bytes]

    def pids(self) -> list[int]:
        """The processes of the node, its workers among them."""
        parents = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):  # it has ended
                continue
        found = [self.process.pid]
        for pid in found:
            found += [child for child, parent in parents.items() if parent == pid]
        return found

    def workers(self, named: str) -> list[int]:
        """Those whose command line begins with ``named``: Ray writes there what a worker does."""
        found = []
        for pid in self.pids():
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if line.startswith(named):
                found.append(pid)
        return found

    def kill(self) -> None:
        """End all of its processes at once, as when the machine loses its power."""
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(30)


@dataclass
class RayHead(RayNode):
    """The first node of a cluster.

    Parameters
    ----------
    address, client
        ``HOST:PORT`` of the cluster, and ``ray://HOST:PORT``.
    sessions
        The folder of Ray's own files; its path is short, since sockets have paths of at most 107 bytes.
    """

    address: str
    client: str
    sessions: Path

    def kill(self) -> None:
        """As for any node; its sessions are removed."""
        super().kill()
        shutil.rmtree(self.sessions, ignore_errors=True)


def authenticate() -> None:
    """Set a token in the environment, once a process: Ray reads it when it is imported, and never again."""
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys():
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_USAGE_STATS_ENABLED="0")


def start_head(folder: Path, *, host: str = "127.0.0.2", cpus: int = 2) -> RayHead:
    """Start a cluster of one node, without a dashboard, with its log in ``folder``."""
    authenticate()
    port, client = _free_ports(host)
    named = [f"--port={port}", f"--ray-client-server-port={client}", "--include-dashboard=false", "--head"]
    sessions = Path(tempfile.mkdtemp(prefix="ray-"))
    process = _start(folder, host, cpus, [*named, f"--temp-dir={sessions}"])
    head = RayHead(process, f"{host}:{port}", f"ray://{host}:{client}", sessions)
    _wait_for_client(head, host, client)
    return head


def add_node(head: RayHead, folder: Path, *, host: str = "127.0.0.3", cpus: int = 2) -> RayNode:
    """Start another node of a cluster."""
    return RayNode(_start(folder, host, cpus, [f"--address={head.address}"]))


def _wait_for_client(head: RayHead, host: str, port: int) -> None:
    """Wait until clients are answered: Ray says that it has started some seconds before."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError as error:
            if time.monotonic() > until:
                head.kill()
                raise AssertionError(f"no server for clients of Ray at {host}:{port}") from error
            time.sleep(0.1)


def _start(folder: Path, host: str, cpus: int, named: list[str]) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{host}.log"
    always = [f"--node-ip-address={host}", f"--num-cpus={cpus}", "--num-gpus=0", "--disable-usage-stats", "--block"]
    memory = "--object-store-memory=100000000"
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *named, *always, memory]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=_environment(), start_new_session=True
        )
    until = time.monotonic() + PATIENCE
    while STARTED not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > until:
            RayNode(process).kill()
            raise AssertionError(f"no node of Ray: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.1)
    return process


def _environment() -> Mapping[str, str]:
    """Workers must find this package, and what the tests define, wherever they are started."""
    paths = [str(ROOT), str(ROOT / "tests" / "helpers"), str(ROOT / "tests")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}


def _free_ports(host: str) -> list[int]:
    """Two ports that nobody listens on."""
    found: list[int] = []
    while len(found) < 2:
        port = FIRST_PORT + secrets.randbelow(LAST_PORT - FIRST_PORT)
        with socket.socket() as probe:
            if probe.connect_ex((host, port)) and port not in found:
                found.append(port)
    return found
