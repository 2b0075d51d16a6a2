"""The house rules that a machine can check: who imports whom, what stays light, what every module says."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted(path for package in ("featurestore", "benchmarks") for path in (ROOT / package).rglob("*.py"))
HEAVY = (
    "pyarrow",
    "duckdb",
    "tensorflow",
    "torch",
    "sklearn",
    "pandas",
    "PIL",
    "skimage",
    "xgboost",
    "lightgbm",
    "rich",
    "transformers",
)


def imports(path: Path) -> set[str]:
    """Every module that ``path`` imports, at the top or inside a function."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(names: set[str], *prefixes: str) -> set[str]:
    return {name for name in names for prefix in prefixes if name == prefix or name.startswith(prefix + ".")}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    where = path.relative_to(ROOT)
    names = imports(path)
    if where.parts[0] == "featurestore":
        assert not within(names, "benchmarks"), "the store never imports the bench"
    if where.parts[:2] == ("featurestore", "backbones"):
        allowed = ("backbones", "errors", "_optional", "hashing", "images", "terminal")
        ours = {name.split(".")[1] for name in within(names, "featurestore") if "." in name}
        assert ours <= set(allowed), "backbones never import the store"
    if where.parts[:2] == ("benchmarks", "heads"):
        assert not within(names, "benchmarks.metrics", "benchmarks.runner", "benchmarks.results")
    if where.name in ("report.py", "plots.py"):
        assert not within(names, "benchmarks.runner", "benchmarks.heads", "sklearn", "torch"), "report never trains"
    if where != Path("featurestore/tables.py"):
        assert not within(names, "deltalake")
    if where.parts[0] == "benchmarks" and where.parts[-1] != "cli.py":
        assert not within(names, "featurestore.writer", "featurestore.catalog", "featurestore.tables"), (
            "public API only"
        )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize(
    "code",
    [
        "import featurestore",
        "from featurestore.cli import cli; cli.main(['--help'], standalone_mode=False)",
        "from featurestore.cli import cli; [c.get_help(__import__('click').Context(c)) for c in cli.commands.values()]",
        "from benchmarks.cli import cli; [c.get_help(__import__('click').Context(c)) for c in cli.commands.values()]",
    ],
)
def test_the_heavy_ones_stay_out(code: str) -> None:
    probe = f"{code}\nimport sys\nprint('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip().endswith("LOADED []"), result.stdout


def test_the_bench_extra_brings_what_the_bench_imports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {
        re.split(r"[<>=\[]", need)[0] for need in (*project["dependencies"], *project["optional-dependencies"]["bench"])
    }
    packages = {"sklearn": "scikit-learn", "PIL": "pillow", "huggingface_hub": "huggingface-hub"}
    asked = set()
    for path in (ROOT / "benchmarks").rglob("*.py"):
        asked |= {name.split(".")[0] for name in imports(path)}
        asked |= {name.split(".")[0] for name in re.findall(r'import_extra\(\s*"([\w.]+)"', path.read_text("utf-8"))}
    others = asked - set(sys.stdlib_module_names) - {"featurestore", "benchmarks"}
    assert {"h5py", "sklearn", "torch"} <= others
    assert {packages.get(name, name) for name in others} <= named
