"""Drives Chromium over `--remote-debugging-pipe` with the standard library alone: pages, mouse, keys, pictures."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Answer = dict[str, Any]
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
# Where Chromium reads our messages and writes its own, as its documentation says.
FROM_US, TO_US = 3, 4
# Keys whose code isn't that of a letter.
CODES = {
    "Enter": 13,
    "Escape": 27,
    "Tab": 9,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
    "Home": 36,
    "End": 35,
}


def find() -> str | None:
    """The path of a Chromium, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Chrome:
    """A headless Chromium with one page, for a ``with`` block."""

    def __init__(self, binary: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-")
        read, their_write = os.pipe()
        their_read, write = os.pipe()
        # High numbers: none of them may be one of the two that the child gets.
        ends = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 20) for one in (their_read, their_write)]
        actions: list[tuple[Any, ...]] = [
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, ends[0], FROM_US),
            (os.POSIX_SPAWN_DUP2, ends[1], TO_US),
        ]
        arguments = [binary, *FLAGS, f"--user-data-dir={self._folder.name}", "about:blank"]
        self._process = os.posix_spawn(binary, arguments, os.environ, file_actions=actions, setpgroup=0)
        for one in (their_read, their_write, *ends):
            os.close(one)
        self._read, self._write = read, write
        self._left = b""
        self._number = 0
        self._sessions: dict[str, Page] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End Chromium and all its processes."""
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._read)
        os.close(self._write)
        for _ in range(20):  # its helpers may still be writing
            shutil.rmtree(self._folder.name, ignore_errors=True)
            if not Path(self._folder.name).exists():
                break
            time.sleep(0.05)
        self._folder.cleanup()

    def send(
        self, method: str, *, session: str | None = None, seconds: float = 30, **parameters: Any
    ) -> dict[str, Any]:
        """The result of one command; what else arrives meanwhile goes to its page."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        end = time.monotonic() + seconds
        while True:
            answer = self._next(end, method)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])
            page = self._sessions.get(answer.get("sessionId", ""))
            if page and "method" in answer:
                page.notice(answer["method"], answer["params"])

    def _next(self, end: float, method: str) -> dict[str, Any]:
        while b"\0" not in self._left:
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise TimeoutError(f"Chromium gave no answer to {method}")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise RuntimeError("Chromium ended")
            self._left += data
        line, _, self._left = self._left.partition(b"\0")
        return dict(json.loads(line))

    def open(self, url: str, *, width: int = 1280, height: int = 800, dark: bool = False) -> "Page":
        """A page in a tab of its own; those before are closed, since a tab behind another one draws nothing."""
        for page in list(self._sessions.values()):
            self.send("Target.closeTarget", targetId=page.target)
        self._sessions.clear()
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._sessions[session] = Page(self, target, session)
        for domain in ("Network", "Page", "Runtime", "Log"):
            page.send(f"{domain}.enable")
        page.resize(width, height, dark=dark)
        page.send("Page.navigate", url=url)
        return page


@dataclass
class Page:
    """One tab: its requests, what it complained of, and what a person would do with it."""

    chrome: Chrome
    target: str
    session: str
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def notice(self, method: str, parameters: dict[str, Any]) -> None:
        """Keep addresses that are asked for, and what the console says."""
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.complaints.append(str(details.get("exception", {}).get("description", details["text"])))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(" ".join(str(one.get("value", one)) for one in parameters["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.chrome.send(method, session=self.session, **parameters)

    def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """The size of the window in CSS pixels, and the colour scheme that the person prefers."""
        phone = width < 500
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def js(self, expression: str) -> Any:
        """The value of an expression; of a promise what it resolves to. It must be JSON."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait(self, expression: str, *, seconds: float = 15) -> Any:
        """The first value of the expression that is true."""
        end, last = time.monotonic() + seconds, ""
        while time.monotonic() < end:
            try:
                if found := self.js(expression):
                    return found
            except (AssertionError, RuntimeError) as error:  # between two documents
                last = str(error)
            time.sleep(0.02)
        raise AssertionError(f"never true: {expression} {last} {self.complaints}")

    def ready(self) -> None:
        """Wait until the explorer has shown its map and images."""
        self.wait("document.documentElement.dataset.ready")

    def text(self, selector: str) -> str:
        """The text of the first element that a selector finds, as it is seen."""
        return str(self.js(f"document.querySelector({json.dumps(selector)}).innerText"))

    def count(self, selector: str) -> int:
        return int(self.js(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def click(self, selector: str) -> None:
        """Click on the middle of the first element that a selector finds, as a person does."""
        quoted = json.dumps(selector)
        self.wait(f"!!document.querySelector({quoted})")
        self.js(f"document.querySelector({quoted}).scrollIntoView({{block: 'nearest'}})")
        place = self.js(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector({quoted}).getBoundingClientRect())"
        )
        self.drag([place])

    def drag(self, places: Sequence[Sequence[float]]) -> None:
        """Press at the first place, move over the others, and let go at the last."""
        self._mouse("mouseMoved", places[0], 0)
        self._mouse("mousePressed", places[0], 1)
        for place in places[1:]:
            self._mouse("mouseMoved", place, 1)
        self._mouse("mouseReleased", places[-1], 0)

    def hover(self, place: Sequence[float]) -> None:
        self._mouse("mouseMoved", place, 0)

    def _mouse(self, kind: str, place: Sequence[float], buttons: int) -> None:
        button = "left" if buttons or kind == "mouseReleased" else "none"
        self.send(
            "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button=button, buttons=buttons,
            clickCount=0 if kind == "mouseMoved" else 1,
        )  # fmt: skip

    def key(self, name: str, *, shift: bool = False) -> None:
        """Press a key."""
        text = {"Enter": "\r"}.get(name, name if len(name) == 1 else "")
        code = CODES.get(name, ord(name.upper()) if len(name) == 1 else 0)
        common = {"key": name, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text: str) -> None:
        """Put text where the focus is."""
        self.send("Input.insertText", text=text)

    def picture(self, path: Path) -> Path:
        """What is seen, as a PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))
        return path
