"""The environment of the rivals: made with venv and pip in a folder of its own, never that of the product."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

# What to install, and the module that must be importable then. Each apart: one that fails takes no other along.
PACKAGES = {
    "pandas": (("pandas", "pyarrow"), "pandas"),
    "duckdb": (("duckdb", "pyarrow"), "duckdb"),
    "faiss": (("faiss-cpu",), "faiss"),
    "usearch": (("usearch",), "usearch.index"),
    "scikit-learn": (("scikit-learn",), "sklearn.neighbors"),
    "lancedb": (("lancedb", "pylance"), "lance"),
    "datasets": (("datasets",), "datasets"),
    "lazypredict": (("lazypredict",), "lazypredict.Supervised"),
    "scikit-learn-intelex": (("scikit-learn-intelex",), "sklearnex"),
}
PROBE = """
import importlib, importlib.metadata, json, sys
found = {}
for name, module in json.loads(sys.argv[1]).items():
    try:
        importlib.import_module(module)
        found[name] = importlib.metadata.version({"faiss": "faiss-cpu"}.get(name, name))
    except Exception as error:
        found[name] = None
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Rivals:
    """Their interpreter and the version of each that is there."""

    python: Path
    versions: dict[str, str] = field(default_factory=dict)

    def interpreter(self, name: str) -> Path | None:
        """The Python that runs the rival ``name``; None when it could not be installed."""
        return self.python if name in self.versions else None


def install(folder: Path) -> Rivals:
    """Make the environment below ``folder`` if it is not there, and install what is missing and can be had."""
    python = folder / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    have = _probe(python)
    tried = folder / "tried.json"
    failed = set(json.loads(tried.read_text())) if tried.is_file() else set()
    missing = [name for name in PACKAGES if have[name] is None and name not in failed]
    for name in missing:
        print(f"installing the rival {name} …", file=sys.stderr, flush=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "numpy", *PACKAGES[name][0]]
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if missing:
        have = _probe(python)
        # Not tried again in each run: remove this file, or the folder, to do so.
        tried.write_text(json.dumps(sorted(name for name, version in have.items() if version is None)))
    return Rivals(python, {name: version for name, version in have.items() if version is not None})


def _probe(python: Path) -> dict[str, str | None]:
    modules = json.dumps({name: module for name, (_, module) in PACKAGES.items()})
    result = subprocess.run([str(python), "-c", PROBE, modules], capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])
