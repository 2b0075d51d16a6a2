"""What each extra brings: packages, bytes on the disk and licences, read from this environment; installs nothing.

``make extras`` prints it for the pinned versions. An extra's packages are those that it requires, and those that they
require, without those of the core. Sizes are those of the files that each package lists.
"""

import json
import platform
import re
import sys
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from resolve import PROJECT, wanted

NAMES = [name for name in PROJECT["optional-dependencies"] if name != "dev"]
# Licences whose terms also hold for what is given on with the package, in one way or another.
COPYLEFT = re.compile(r"\b[AL]?GPL|Affero|Lesser General|General Public|\bMPL\b|Mozilla|\bEPL\b|Eclipse|CDDL")
# Metadata spell one licence in several ways.
SPELLED = {
    "Apache-2.0": r"Apache|ASL",
    "MIT": r"\bMIT\b",
    "BSD": r"\bBSD\b|BSD-[23]|3-Clause",
    "PSF-2.0": r"PSF|Python Software",
    "MPL-2.0": r"MPL|Mozilla",
    "ISC": r"\bISC",
    "LGPL": r"LGPL|Lesser General",
    "AGPL": r"AGPL|Affero",
    "GPL": r"\bGPL|GNU General Public",
    "zlib": r"[Zz]lib",
    "HPND": r"HPND|MIT-CMU",
    "Unlicense": r"Unlicense",
    "proprietary": r"[Pp]roprietary",
}


def closure(needs: list[Requirement]) -> tuple[dict[str, Distribution], set[str]]:
    """What ``needs`` bring, by name, and the names of packages that are not installed here."""
    found: dict[str, Distribution] = {}
    absent: set[str] = set()
    asked: set[tuple[str, frozenset[str]]] = set()
    left = list(needs)
    while left:
        need = left.pop()
        name, extras = canonicalize_name(need.name), frozenset(need.extras)
        if (name, extras) in asked or not (need.marker is None or need.marker.evaluate({"extra": ""})):
            continue
        asked.add((name, extras))
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            absent.add(name)
            continue
        for text in found[name].requires or ():
            inner = Requirement(text)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                inner.marker = None
                left.append(inner)
    return found, absent


@cache
def size(name: str) -> int:
    """Bytes of the files of an installed package."""
    paths = [file.locate() for file in distribution(name).files or ()]
    return sum(path.stat().st_size for path in paths if path.is_file())  # type: ignore[attr-defined]


@cache
def named(name: str) -> str:
    """What a package's metadata say of its licence; the start of its licence file where they say nothing."""
    found = distribution(name)
    classifiers = [one for one in found.metadata.get_all("Classifier") or () if one.startswith("License ::")]
    classifiers = [one for one in classifiers if one != "License :: OSI Approved"]
    fields = [found.metadata.get("License-Expression") or "", (found.metadata.get("License") or "")[:200]]
    if text := " ".join([*fields, *classifiers]).strip():
        return text
    files = [file for file in found.files or () if re.match(r"LICEN[CS]E|COPYING", file.name)]
    return files[0].read_text("utf-8")[:200] if files else ""


def licences(name: str) -> set[str]:
    """The licences that a package names; `?` where it names none that is known here."""
    return {known for known, pattern in SPELLED.items() if re.search(pattern, named(name))} or {"?"}


def main() -> None:
    """Print the table, and then each package whose licence is not known here."""
    core, _ = closure([Requirement(need) for need in PROJECT["dependencies"]])
    print(f"{platform.system()} {platform.machine()}, Python {platform.python_version()}\n")
    print("| extra | packages | MB | licences | of them copyleft | not installed here |")
    print("|---|--:|--:|---|---|---|")
    every: set[str] = set()
    for extra in ("", *NAMES):
        brought, absent = (core, set()) if not extra else closure(list(wanted(extra)))
        new = sorted(name for name in brought if not extra or name not in core)
        every |= set(new)
        kinds = sorted({kind for name in new for kind in licences(name)})
        copyleft = [f"{name} ({', '.join(sorted(licences(name)))})" for name in new if COPYLEFT.search(named(name))]
        cells = (", ".join(kinds), ", ".join(copyleft), ", ".join(sorted(absent)))
        print(f"| {extra or '(core)'} | {len(new)} | {sum(map(size, new)) / 1e6:,.0f} | {' | '.join(cells)} |")
    unknown = {name: named(name) for name in sorted(every) if "?" in licences(name)}
    print("\nno known licence:", json.dumps(unknown, indent=1) if unknown else "none")


if __name__ == "__main__":
    sys.exit(main())
