"""The house rules that a machine can check: who imports whom, what stays light, what every module says."""

import ast
import importlib
import importlib.util
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from resolve import PROJECT, wanted

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
    "obstore",
    "simsimd",
    "ray",
    "rich",
    "transformers",
    "openvino",
    "onnx",
    "ai_edge_litert",
    "platformdirs",
)


# Lines of a module, and of a function with its docstring.
LONGEST_MODULE, LONGEST_FUNCTION = 300, 60
HELP_OF_ALL = "[c.get_help(__import__('click').Context(c)) for c in cli.commands.values()]"
# What every floor may import.
GROUND = frozenset(
    {
        *("_optional", "arrow", "display", "engines", "errors", "events", "files", "limited", "markdown", "progress"),
        *("quiet", "spreadsheet", "system", "terminal"),
    }
)
# The folders of each package, lowest floor first: each may import those below it, not those beside it.
FLOORS = {
    "featurestore": (
        {"storage"},
        {"backbones", "catalog"},
        {"collections", "features"},
        {"embedding", "forgetting"},
        {"explore"},
        {"maintained"},
        {"store"},
        {"commands"},
    ),
    "benchmarks": (
        {"heads", "scores"},
        {"models", "plan"},
        {"finetune", "results"},
        {"report", "run"},
        {"api"},
        {"commands"},
    ),
}
# What the bench may import of the store besides the names of the package itself.
PUBLIC = (
    *("display", "errors", "progress", "files", "engines", "events", "markdown", "spreadsheet", "system"),
    *("_optional", "commands.backbone_options", "commands.options"),
)
# What a command may import besides the ground, its folder and the public names: the modules of those without a store.
WITHOUT_STORE = ("backbones.records", "collections.movies.sample", "collections.movies.fetch")
# The one that writes tables of Delta Lake.
WRITES_DELTA = Path("featurestore/features/delta.py")


def imports(path: Path, *, types: bool = True) -> set[str]:
    """Every module that ``path`` imports, at the top or inside a function; without ``types`` those that run."""
    found: set[str] = set()
    left: list[ast.AST] = [ast.parse(path.read_text("utf-8"))]
    while left:
        node = left.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif types or not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            left += ast.iter_child_nodes(node)
    return found


def within(names: set[str], *prefixes: str) -> set[str]:
    return {name for name in names for prefix in prefixes if name == prefix or name.startswith(prefix + ".")}


def own(names: set[str]) -> set[str]:
    """Those of ``names`` that are modules or folders of the two packages."""
    places = {name: ROOT.joinpath(*name.split(".")) for name in within(names, "featurestore", "benchmarks")}
    return {name for name, place in places.items() if place.is_dir() or place.with_suffix(".py").is_file()}


def floor(module: str) -> int:
    """The floor of a module: -1 for the ground; that of the package itself is above all others."""
    package, _, rest = module.partition(".")
    folder = rest.partition(".")[0]
    if folder in GROUND:
        return -1
    return next((number for number, folders in enumerate(FLOORS[package]) if folder in folders), len(FLOORS[package]))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    where = path.relative_to(ROOT)
    package, *folders = where.with_suffix("").parts
    module = ".".join([package, *folders])
    names = own(imports(path))
    mine = {name for name in names if name.startswith(f"{package}.")}
    higher = {name for name in mine if floor(name) > floor(module)}
    level = {name for name in mine if floor(name) == floor(module) and name.split(".")[1] != folders[0]}
    assert not higher, "imports go down"
    assert not level or floor(module) < 0, "folders of one floor don't know each other"
    if package == "featurestore":
        assert not within(names, "benchmarks"), "the store never imports the bench"
    else:
        allowed = within(names, *(f"featurestore.{name}" for name in PUBLIC))
        rest = within(names, "featurestore") - allowed - {"featurestore"}
        assert {name for name in rest if not within(allowed, name)} == set(), "the bench uses public names only"
    if package == "featurestore" and folders[0] == "commands":
        allowed = within(own(imports(path, types=False)), *(f"featurestore.{name}" for name in (*GROUND, "commands")))
        allowed |= within(names, *(f"featurestore.{name}" for name in WITHOUT_STORE))
        rest = own(imports(path, types=False)) - allowed - {"featurestore"}
        assert {name for name in rest if not within(allowed, name)} == set(), "a command calls the façade"
    if folders[:1] == ["report"]:
        assert not within(imports(path), "sklearn", "torch"), "report never trains"
    if where != WRITES_DELTA:
        assert not within(imports(path), "deltalake")


def test_scripts_and_tests_import_what_there_is() -> None:
    """Also inside functions, where only a run of `make perf` or `make torture` would come by."""
    missing = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.ImportFrom) or not within({node.module or ""}, "featurestore", "benchmarks"):
                continue
            module = importlib.import_module(str(node.module))
            for name in (alias.name for alias in node.names):
                if not hasattr(module, name) and importlib.util.find_spec(f"{node.module}.{name}") is None:
                    missing.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.module}.{name}")
    assert missing == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {}
    for path in MODULES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[module] = own(imports(path, types=False)) - {module}
    TopologicalSorter(graph).prepare()  # a CycleError names the way round


def test_no_two_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_owns(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_and_no_function_is_long(path: Path) -> None:
    text, where = path.read_text("utf-8"), path.relative_to(ROOT)
    assert len(text.splitlines()) <= LONGEST_MODULE
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {f"{where}:{one.name}": (one.end_lineno or one.lineno) - one.lineno + 1 for one in functions}
    assert {name for name, length in lengths.items() if length > LONGEST_FUNCTION} == set()


@pytest.mark.parametrize(
    "code",
    [
        "import featurestore",
        "import benchmarks; dir(benchmarks)",
        "from featurestore.commands.cli import cli; cli.main(['--help'], standalone_mode=False)",
        f"from featurestore.commands.cli import cli; {HELP_OF_ALL}",
        f"from benchmarks.commands.cli import cli; {HELP_OF_ALL}",
    ],
)
def test_the_heavy_ones_stay_out(code: str) -> None:
    probe = f"{code}\nimport sys\nprint('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip().endswith("LOADED []"), result.stdout


def test_the_bench_extra_brings_what_the_bench_imports() -> None:
    named = {need.name for need in (*map(Requirement, PROJECT["dependencies"]), *wanted("bench"))}
    packages = {"sklearn": "scikit-learn", "PIL": "pillow", "huggingface_hub": "huggingface-hub"}
    asked = set()
    for path in (ROOT / "benchmarks").rglob("*.py"):
        asked |= {name.split(".")[0] for name in imports(path)}
        asked |= {name.split(".")[0] for name in re.findall(r'import_extra\(\s*"([\w.]+)"', path.read_text("utf-8"))}
    others = asked - set(sys.stdlib_module_names) - {"featurestore", "benchmarks"}
    assert {"h5py", "sklearn", "torch"} <= others
    assert {packages.get(name, name) for name in others} <= named
