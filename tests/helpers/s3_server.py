"""An S3 server on this machine whose conditional puts are atomic, and whose requests and replies can be lost."""

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import Request, urlopen

BUCKET = "stores"


class S3Server:
    """A moto server on a thread; `lose` says of each request, by method and path, whether it gets lost and when.

    It returns ``request`` (before it is done), ``reply`` (after it was done) or an empty text.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server

        self.lose: Callable[[str, str], str] = lambda method, path: ""
        self._app = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._answer, True, request_handler=MotoRequestHandler)
        self._server.log = lambda *_, **__: None  # type: ignore[method-assign]  # lost replies are meant
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def host(self) -> str:
        """``HOST:PORT``."""
        return f"127.0.0.1:{self._server.server_port}"

    def address(self, path: str) -> str:
        """The address of a store in the bucket."""
        return f"s3://{BUCKET}/{path}?scheme=http&endpoint_override={self.host}&region=us-east-1"

    def start(self) -> None:
        """Serve, with an empty bucket."""
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line for each request
        self._thread.start()
        self.make_bucket(BUCKET)

    def make_bucket(self, name: str) -> None:
        """Make an empty bucket."""
        with urlopen(Request(f"http://{self.host}/{name}", method="PUT"), timeout=60):
            pass

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        lost = self.lose(environ["REQUEST_METHOD"], environ["PATH_INFO"])
        if lost == "request":  # else the rest of it would be taken for the next one
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if lost != "request":
            with self._lock:  # moto compares and writes in two steps
                body = list(self._app(environ, start_response))
            if not lost:
                return body
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A running server."""
    server = S3Server()
    server.start()
    try:
        yield server
    finally:
        server.stop()
