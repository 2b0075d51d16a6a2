"""The explorer's server: who is refused, what an answer carries, and that nobody waits for a slow one."""

import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse

import pytest

from featurestore.errors import InputError, StoreLocked
from featurestore.explore.page.messages import JSON, PageAnswer, Routes, json_answer
from featurestore.explore.page.server import BODY_BYTES, PageServer

TITLE = '<script>alert("1")</script>\r\nX-Evil: 1'
Headers = Mapping[str, str]


def held(query: Mapping[str, str]) -> PageAnswer:
    raise StoreLocked("the store is being written by process 7")


def wrong(query: Mapping[str, str]) -> PageAnswer:
    raise ZeroDivisionError("a fault of the program")


ROUTES = Routes(
    get={
        "": lambda query: PageAnswer(b"<h1>page</h1>", "text/html"),
        "api/echo": lambda query: json_answer(dict(query)),
        "api/title": lambda query: json_answer({"title": TITLE}),
        "api/held": held,
        "api/wrong": wrong,
    },
    below={"thumb/": lambda name: json_answer(name)},
    post={"api/save": lambda sent: json_answer(sent)},
)


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    """A server of a few routes, without a store."""
    running = PageServer(ROUTES)
    yield running
    running.close()


def ask(
    server: PageServer, address: str, *, method: str = "GET", headers: Mapping[str, str] = {}, body: bytes | None = None
) -> tuple[int, HTTPResponse, bytes]:
    """A request as a browser makes it, below the token; an address that begins with / is taken as it is."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    target = address if address.startswith("/") else f"/{server.token}/{address}"
    connection.putrequest(method, target, skip_host="Host" in headers, skip_accept_encoding=True)
    given = {**({} if body is None else {"Content-Length": str(len(body))}), **headers}
    for name, value in given.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer, content


def own(server: PageServer) -> dict[str, str]:
    """The headers of a change that comes from the page."""
    origin = f"http://127.0.0.1:{server.server_port}"
    return {"Origin": origin, "Content-Type": JSON, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}


def test_the_page_is_served_to_this_machine_alone(server: PageServer) -> None:
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"
    assert len(server.token) >= 32
    status, answer, content = ask(server, "")
    assert (status, content) == (200, b"<h1>page</h1>")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert {name: answer.headers[name] for name in ("X-Content-Type-Options", "Referrer-Policy", "Cache-Control")} == {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["Server"] == "featurestore"
    assert json.loads(ask(server, "api/echo?a=%C3%A9&b=1+2&c=")[2]) == {"a": "é", "b": "1 2", "c": ""}


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (421, {"Host": "evil.example"}),
        (421, {"Host": "evil.example:PORT"}),
        (421, {"Host": ""}),
        (421, {"Host": "127.0.0.1"}),
        (403, {"Origin": "http://evil.example"}),
        (403, {"Origin": "null"}),
        (403, {"Origin": "https://127.0.0.1:PORT"}),
        (403, {"Origin": "http://127.0.0.1:1"}),
        (403, {"Sec-Fetch-Site": "cross-site"}),
        (403, {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}),
        (400, {"Content-Length": "3"}),
        (400, {"Transfer-Encoding": "chunked"}),
        (200, {"Host": "localhost:PORT"}),
        (200, {"Origin": "http://localhost:PORT", "Sec-Fetch-Site": "same-origin"}),
        (200, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}),  # a link, or a frame in a notebook
    ],
)
def test_another_host_and_another_page_are_refused(server: PageServer, status: int, headers: Headers) -> None:
    port = str(server.server_port)
    given = {name: value.replace("PORT", port) for name, value in headers.items()}
    assert ask(server, "api/echo", headers=given)[0] == status


def test_two_hosts_are_refused(server: PageServer) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as raw:
        host = f"127.0.0.1:{server.server_port}"
        raw.sendall(f"GET /{server.token}/ HTTP/1.1\r\nHost: {host}\r\nHost: evil.example\r\n\r\n".encode())
        assert raw.recv(1000).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "target",
    ["/", "/api/echo", "/wrong/", "/wrong/api/echo", "/{token}", "/{token}x/", "/{short}/", "http://evil/{token}/"],
)
def test_without_the_token_nothing_is_told(server: PageServer, target: str) -> None:
    token = server.token
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as raw:
        path = target.format(token=token, short=token[:-1])
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n\r\n".encode())
        answer = raw.recv(4000)
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert token.encode() not in answer


def test_an_entrance_leads_to_the_page_once_and_soon(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    target = server.entrance().partition(str(server.server_port))[2]
    assert server.token not in target
    assert ask(server, f"{target}api/echo")[0] == 403
    assert ask(server, target, headers={"Host": "evil.example"})[0] == 421
    status, answer, content = ask(server, target, headers={"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "none"})
    assert (status, answer.headers["Location"], content) == (303, f"/{server.token}/", b"")
    assert ask(server, target)[0] == 403
    monkeypatch.setattr("featurestore.explore.page.server.ENTRANCE_SECONDS", -1)
    assert ask(server, server.entrance().partition(str(server.server_port))[2])[0] == 403


def test_too_many_connections_are_closed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featurestore.explore.page.server.MOST_CONNECTIONS", 3)
    server = PageServer(ROUTES)
    three = [socket.create_connection(("127.0.0.1", server.server_port), timeout=10) for _ in range(3)]
    with (
        suppress(ConnectionError),
        socket.create_connection(("127.0.0.1", server.server_port), timeout=10) as fourth,
    ):
        assert fourth.recv(1) == b""
    for one in three:
        one.close()
    deadline, statuses = time.monotonic() + 10, []
    while not statuses and time.monotonic() < deadline:
        with suppress(ConnectionError):
            statuses.append(ask(server, "api/echo")[0])
    server.close()
    assert statuses == [200], "the place of a closed connection is free"


@pytest.mark.parametrize(
    "address", ["nothing", "api/", "static/x", "thumb", "thumb/../api/echo", "api/echo/", "../", "api%2fecho"]
)
def test_only_the_addresses_of_the_page_are_answered(server: PageServer, address: str) -> None:
    assert ask(server, address)[0] == 404


def test_no_header_and_no_page_is_made_of_what_was_sent(server: PageServer) -> None:
    status, answer, content = ask(server, "api/title")
    assert (status, json.loads(content)["title"]) == (200, TITLE)
    assert (answer.headers["Content-Type"], answer.headers["X-Evil"]) == (JSON, None)
    for target in ("<script>", "api/%0d%0aX-Evil:1", "api/echo?a=%ff", "api/echo?" + "&".join("abcdefghi" * 5)):
        status, answer, content = ask(server, target)
        assert status in (400, 404)
        assert set(json.loads(content)) == {"error"}
        assert b"<" not in content
    status, answer, content = ask(server, "", method="<b>X")
    assert (status, answer.headers["Content-Type"], b"<" in content) == (501, JSON, False)


@pytest.mark.parametrize(
    ("status", "change"),
    [
        (200, {}),
        (200, {"Content-Type": "application/json; charset=utf-8"}),
        (403, {"Origin": ""}),
        (403, {"Origin": "http://evil.example"}),
        (403, {"Sec-Fetch-Site": "cross-site"}),
        (403, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}),
        (415, {"Content-Type": "text/plain"}),
        (415, {"Content-Type": ""}),
        (415, {"Content-Type": "application/x-www-form-urlencoded"}),
        (411, {"Content-Length": "x"}),
        (411, {"Content-Length": "-1"}),
        (413, {"Content-Length": str(BODY_BYTES + 1)}),
        (413, {"Content-Length": "9" * 40}),
        (411, {"Transfer-Encoding": "chunked"}),
    ],
)
def test_a_change_comes_from_the_page_as_json(server: PageServer, status: int, change: Headers) -> None:
    headers = {**own(server), **change}
    assert ask(server, "api/save", method="POST", headers=headers, body=b'{"a": 1}')[0] == status


@pytest.mark.parametrize(
    ("status", "address", "body"),
    [
        (400, "api/save", b"{"),
        (400, "api/save", b"[1]"),
        (400, "api/save", b"[" * 100_000),
        (400, "api/save", b'{"a": "\xff"}'),
        (405, "api/echo", b"{}"),
        (404, "api/nothing", b"{}"),
    ],
)
def test_a_change_that_is_not_understood(server: PageServer, status: int, address: str, body: bytes) -> None:
    got, _, content = ask(server, address, method="POST", headers=own(server), body=body)
    assert (got, set(json.loads(content))) == (status, {"error"})


def test_get_changes_nothing(server: PageServer) -> None:
    assert ask(server, "api/save")[0] == 405
    assert ask(server, "api/save", method="PUT", headers=own(server), body=b"{}")[0] == 501


def test_errors_are_one_sentence(server: PageServer, caplog: pytest.LogCaptureFixture) -> None:
    assert ask(server, "api/held")[0] == 409
    status, _, content = ask(server, "api/wrong")
    assert (status, b"a fault" in content) == (500, False)
    assert "a fault of the program" in caplog.text


def test_a_slow_client_keeps_nobody_waiting(server: PageServer) -> None:
    half = f"POST /{server.token}/api/save HTTP/1.1\r\nHost: 127.0.0.1:{server.server_port}\r\n"
    slow = [socket.create_connection(("127.0.0.1", server.server_port), timeout=10) for _ in range(20)]
    for one in slow:
        one.sendall(half.encode())
    started = time.monotonic()
    assert ask(server, "api/echo")[0] == 200
    assert time.monotonic() - started < 2
    for one in slow:
        one.close()


def test_an_answer_leaves_in_one_packet(server: PageServer) -> None:
    """Else each answer on a kept connection waits 40 ms for an acknowledgement."""
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    started = time.monotonic()
    for _ in range(50):
        connection.request("GET", f"/{server.token}/api/echo")
        assert connection.getresponse().read() == b"{}"
    connection.close()
    assert time.monotonic() - started < 50 * 0.04 / 2


def test_a_closed_server_answers_no_more() -> None:
    server = PageServer(ROUTES)
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    connection.request("GET", f"/{server.token}/api/echo")
    assert connection.getresponse().read() == b"{}"
    server.close()
    server.close()
    assert connection.sock is not None
    assert connection.sock.recv(10) == b"", "a connection that a browser keeps is ended"
    connection.close()
    with pytest.raises(OSError, match="refused"):
        ask(server, "api/echo")
    waiting = threading.Thread(target=server.wait)
    waiting.start()
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_port_in_use_is_one_sentence(server: PageServer) -> None:
    with pytest.raises(InputError, match=f"port {server.server_port} can't be used .*: name another one, or 0"):
        PageServer(server.routes, port=server.server_port)
    with pytest.raises(InputError, match="port 70000 can't be used"):
        PageServer(server.routes, port=70_000)
