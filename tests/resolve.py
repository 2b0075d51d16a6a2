"""Asks pip's resolver what each extra brings on each Python that pyproject.toml names: `make resolve`.

Nothing is installed. Only wheels count: what has none for a Python would have to be compiled there.
``python tests/resolve.py 3.14`` asks for one version.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PYTHONS = [
    name.split()[-1] for name in PROJECT["classifiers"] if name.startswith("Programming Language :: Python :: 3.")
]
# The extras that are asked for together, and whether the pins of constraints.txt hold; the last is what `make` takes.
WANTED = (
    ((), True),
    *(
        ((one,), True)
        for one in (
            "embed",
            "onnx",
            "tensorflow",
            "torch",
            "bench",
            "explore",
            "export",
            "s3",
            "search",
            "cluster",
            "heic",
        )
    ),
    (("all",), False),
    (("all", "dev"), True),
)
# Its jsonpath-rw is plain Python that has no wheel: `make` builds it, for another Python pip can't.
WITHOUT_WHEEL = frozenset({"mlcroissant"})
# pip takes the wheels of another Python by --python-version, but reads environment markers with the Python it runs on.
PIP = """
import sys
from pip._vendor.packaging import markers

version, own = sys.argv.pop(1), markers.default_environment()
markers.default_environment = lambda: {**own, "python_version": version, "python_full_version": f"{version}.0"}

from pip._internal.cli.main import main

sys.exit(main())
"""


def wanted(*extras: str) -> Iterator[Requirement]:
    """What the extras ask for besides the core; an extra that names others of this project stands for theirs."""
    for need in (Requirement(text) for extra in extras for text in PROJECT["optional-dependencies"][extra]):
        if need.name == PROJECT["name"]:
            yield from wanted(*sorted(need.extras))
        else:
            yield need


def resolve(version: str, extras: tuple[str, ...], *, pinned: bool) -> list[str]:
    """The addresses of the wheels that would be installed.

    Raises
    ------
    LookupError
        What pip says of requirements that can't be met.
    """
    asked = (need for need in wanted(*extras) if need.name not in WITHOUT_WHEEL)
    needs = [*PROJECT["dependencies"], *map(str, asked)]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch, "report.json")
        command = [sys.executable, "-c", PIP, version, "install", "--dry-run", "--quiet", "--ignore-installed"]
        command += ["--only-binary", ":all:", "--python-version", version, "--target", f"{scratch}/nowhere"]
        command += [
            "--report",
            str(report),
            *(("--constraint", str(ROOT / "constraints.txt")) if pinned else ()),
            *needs,
        ]
        result = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if result.returncode != 0:
            errors = [line.removeprefix("ERROR: ") for line in result.stderr.splitlines() if line.startswith("ERROR: ")]
            raise LookupError(" ".join(errors) or result.stderr)
        found = json.loads(report.read_text("utf-8"))
    assert found["environment"]["python_version"] == version, "pip read the markers of another Python"
    return [package["download_info"]["url"] for package in found["install"]]


@cache
def size(address: str) -> int | None:
    """Bytes of a file, None where they can't be had."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=20) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, TypeError):
        return None


def row(version: str, extras: tuple[str, ...], *, pinned: bool) -> tuple[str, bool]:
    """One line of the table, and whether pip found an answer."""
    start = f"{version:8}{','.join(extras) or '(core)':24}{'yes' if pinned else 'no':8}"
    try:
        files = resolve(version, extras, pinned=pinned)
    except LookupError as error:
        return f"{start}CONFLICT  {error}", False
    sizes = [size(file) for file in files]
    known = f"{sum(filter(None, sizes)) / 1e6:,.0f} MB" if None not in sizes else "…"
    return f"{start}{len(files):8}{known:>12}", True


def main() -> None:
    """Print the table; exit with 1 where something doesn't resolve."""
    print(f"{'Python':8}{'extras':24}{'pinned':8}{'packages':>8}{'download':>12}")
    failed = False
    for version in sys.argv[1:] or PYTHONS:
        for extras, pinned in WANTED:
            line, resolved = row(version, extras, pinned=pinned)
            print(line, flush=True)
            failed |= not resolved
    sys.exit(failed)


if __name__ == "__main__":
    main()
