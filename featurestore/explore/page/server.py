"""The web server of the explorer: one address on loopback, a token in it, and a table of routes; it knows no store.

Every request is refused unless it names this server as its host, carries the token, and comes from this page or from
the address bar. The token is the first part of the path rather than a cookie: cookies of 127.0.0.1 go to every port of
the machine, and a frame in a notebook gets none.
"""

import hmac
import json
import logging
import secrets
import socket
import socketserver
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl

from featurestore.errors import Conflict, FeatureStoreError, InputError, StoreLocked, in_one_line
from featurestore.explore.page.messages import JSON, PageAnswer, PageError, Routes, json_answer

log = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
BODY_BYTES = 16 * 2**20  # a selection of a million ids
IDLE_SECONDS = 60
# How often the server looks whether it is to be closed, and how long it then waits for answers that are being made:
# a thread that is in a library's code when the program ends can take it down with a crash.
LOOKING_SECONDS, CLOSING_SECONDS = 0.1, 10.0
MOST_PARAMETERS = 32
# Each open connection has a thread; a browser opens six to a server.
MOST_CONNECTIONS = 256
# How long an entrance leads to the page.
ENTRANCE_SECONDS = 60
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self' http://localhost:* http://127.0.0.1:*"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class PageServer(ThreadingHTTPServer):
    """Serves ``routes`` on ``port`` of the loopback address, 0 for a free one, from a thread of its own.

    Raises
    ------
    InputError
        When the port can't be used.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, routes: Routes, *, port: int = 0) -> None:
        try:
            super().__init__((LOOPBACK, port), PageHandler)
        except (OSError, OverflowError) as error:
            raise InputError(
                f"port {port} can't be used ({in_one_line(error)}): name another one, or 0 for any"
            ) from error
        self.routes = routes
        self.token = secrets.token_urlsafe(24)
        self.hosts = {f"{name}:{self.server_port}" for name in (LOOPBACK, "localhost")}
        self.closed = False
        self._open: set[socket.socket] = set()
        self._entrances: dict[str, float] = {}
        self._thread = Thread(target=self.serve_forever, args=(LOOKING_SECONDS,), name="explorer", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        return f"http://{LOOPBACK}:{self.server_port}/{self.token}/"

    def entrance(self) -> str:
        """An address that leads to the page once and soon: other users can read it in the list of processes."""
        code = secrets.token_urlsafe(24)
        self._entrances[code] = time.monotonic() + ENTRANCE_SECONDS
        return f"http://{LOOPBACK}:{self.server_port}/{code}/"

    def enters(self, code: str) -> bool:
        """Whether that is an entrance, which it is no longer from now on."""
        return self._entrances.pop(code, 0) > time.monotonic()

    def server_bind(self) -> None:
        """Bind without the question to a name server that `HTTPServer` asks."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = LOOPBACK, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread of its own, until it is closed; one too many is closed at once."""
        if len(self._open) >= MOST_CONNECTIONS:
            self.shutdown_request(request)
            return
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        super().shutdown_request(request)
        self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong, unless the browser just went away."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            log.exception("a request to the explorer failed")

    def wait(self) -> None:
        """Return when the server was closed."""
        self._thread.join()

    def close(self) -> None:
        """Stop, and end the connections that browsers keep open; an answer that takes long is waited for a while."""
        if self.closed:
            return
        self.closed = True
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):  # the browser was faster
                connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + CLOSING_SECONDS
        while self._open and time.monotonic() < deadline:
            time.sleep(LOOKING_SECONDS / 10)


class PageHandler(BaseHTTPRequestHandler):
    """Checks one request, and sends what its route answers."""

    server: PageServer
    protocol_version = "HTTP/1.1"
    # Header and body leave in one packet: else each answer waits 40 ms for the browser to confirm the header.
    disable_nagle_algorithm = True
    wbufsize = -1
    timeout = IDLE_SECONDS
    server_version = "featurestore"

    def do_GET(self) -> None:
        """Answer a page, a file, an image or a question."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer a change."""
        self._answer(self._post)

    def _answer(self, make: Callable[[str, str], PageAnswer]) -> None:
        try:
            target = self._allowed_target()
            address, _, query = (target or "").partition("?")
            answer = make(address, query) if target is not None else self._into_the_page()
        except FeatureStoreError as error:
            answer = _told(error)
        except (ConnectionError, TimeoutError):  # the browser went away, or sends nothing any more
            raise
        except Exception:
            log.exception("the explorer can't answer %s", self.path.partition("?")[0].rpartition("/")[2][:80])
            answer = json_answer({"error": "the server failed: its terminal says why"}, status=500)
        self._send(answer)

    def _into_the_page(self) -> PageAnswer:
        return PageAnswer(b"", status=303, headers={"Location": f"/{self.server.token}/"})

    def _allowed_target(self) -> str | None:
        """What follows the token in the request's target; None for an entrance.

        Raises
        ------
        PageError
            When the request is not one that this page, or the person who has its address, makes.
        """
        if self.server.closed or self._header("Host").lower() not in self.server.hosts:
            raise PageError(421, "this server answers by its own address alone: open the one that was printed")
        _, _, target = self.path.partition("/")
        token, slash, rest = target.partition("/")
        enters = self.command == "GET" and not rest and self.server.enters(token)
        if not enters and not (slash and hmac.compare_digest(token.encode(), self.server.token.encode())):
            raise PageError(403, "the address lacks the token: open the one that was printed")
        origin, site = self._header("Origin"), self._header("Sec-Fetch-Site")
        if origin and origin not in {f"http://{host}" for host in self.server.hosts}:
            raise PageError(403, "the request comes from another page")
        navigates = self.command == "GET" and self._header("Sec-Fetch-Mode") == "navigate"
        if not navigates and site not in ("", "none", "same-origin"):
            raise PageError(403, "the request comes from another site")
        return None if enters else rest.partition("#")[0]

    def _header(self, name: str) -> str:
        """The value of a header that may be there once; empty if it is absent."""
        values = self.headers.get_all(name) or [""]
        if len(values) > 1:
            raise PageError(400, f"got the header {name} twice, expected it once")
        return str(values[0]).strip()

    def _get(self, address: str, query: str) -> PageAnswer:
        if self._header("Content-Length") not in ("", "0") or self._header("Transfer-Encoding"):
            raise PageError(400, "got a body with GET, expected none")
        routes = self.server.routes
        if address in routes.get:
            return routes.get[address](_parameters(query))
        folder, slash, name = address.rpartition("/")
        if folder + slash in routes.below:
            return routes.below[folder + slash](name)
        if address in routes.post:
            raise PageError(405, "this address is changed by POST alone")
        raise PageError(404, "there is no such page")

    def _post(self, address: str, query: str) -> PageAnswer:
        """The body is read only after everything else was checked."""
        if not self._header("Origin"):
            raise PageError(403, "a change must come from the page itself")
        if self._header("Content-Type").partition(";")[0].strip().lower() != JSON:
            raise PageError(415, f"got another type of content than {JSON}")
        if address not in self.server.routes.post:
            raise PageError(405 if address in self.server.routes.get else 404, "nothing is changed by this address")
        return self.server.routes.post[address](_object(self._body()))

    def _body(self) -> bytes:
        length = self._header("Content-Length")
        if self._header("Transfer-Encoding") or not (length.isascii() and length.isdigit()):
            raise PageError(411, "got no Content-Length, expected the number of bytes")
        if len(length) > 12 or int(length) > BODY_BYTES:
            raise PageError(413, f"got {length[:20]} bytes, expected at most {BODY_BYTES:,}")
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise PageError(400, "the request ended early")
        return body

    def _send(self, answer: PageAnswer) -> None:
        if answer.status >= 400:
            self.close_connection = True  # a body may be left that nobody reads
        self.send_response(answer.status)
        headers = {
            "Content-Type": answer.kind,
            "Content-Length": str(len(answer.body)),
            "Cache-Control": "private, max-age=3600" if answer.cached else "no-store",
            **HEADERS,
            **answer.headers,
            **({"Connection": "close"} if self.close_connection else {}),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)
        self.wfile.flush()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer a request that is no HTTP, or has another method, without repeating any of it."""
        self._send(json_answer({"error": "the request is not one that this server answers"}, status=code))

    def version_string(self) -> str:
        """What the header Server says: no version, which helps nobody but an attacker."""
        return self.server_version

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the terminal belongs to the command."""


def _told(error: FeatureStoreError) -> PageAnswer:
    status = error.status if isinstance(error, PageError) else 400
    if isinstance(error, (StoreLocked, Conflict)):
        status = 409
    return json_answer({"error": str(error)}, status=status)


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MOST_PARAMETERS)
    except ValueError as error:  # also bytes that are no UTF-8
        raise InputError(f"the parameters can't be read ({in_one_line(error)})") from error
    return dict(pairs)


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InputError("the body can't be read as JSON") from error
    if not isinstance(value, dict):
        raise InputError("got another value than an object as JSON")
    return value
