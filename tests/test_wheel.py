"""The wheel holds every file of both packages, and works from another folder where the repository can't be imported."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from support import Collection
from test_readme import BLOCKS, commands, matches

import featurestore

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("featurestore", "benchmarks")
PAGES = ("CHANGELOG.md", "SECURITY.md", "CITATION.cff")
BUILD = "import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
PULL = """
import featurestore
features = featurestore.open("store").features("descriptors", label="Genre1")
print(featurestore.__file__, *features.X.shape)
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built: setuptools leaves folders behind, and takes what lies in them into the next wheel."""
    folder = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", *PAGES):
        shutil.copy(ROOT / name, folder)
    return folder


def build(kind: str, source: Path, into: Path) -> Path:
    """Build a ``wheel``, an ``editable`` or an ``sdist``; a warning of setuptools is an error."""
    command = [sys.executable, "-W", "error::UserWarning", "-c", BUILD.format(kind=kind), str(into)]
    result = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    (built,) = into.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this working tree."""
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts of an environment with the wheel in it; other packages come from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder)
    bin_ = folder / "bin"
    # A path of a .pth file is only a path: the .pth files that lie there, such as our editable install's, are not read.
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    site = sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)})
    Path(site, "others.pth").write_text("\n".join(here))
    pip = [sys.executable, "-m", "pip", "--python", str(bin_ / "python"), "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--ignore-installed", str(wheel)], check=True, timeout=120)
    return bin_


def run(scripts: Path, *command: str, cwd: Path) -> str:
    """What a command of the environment prints."""
    clean = {"PYTHONPATH", "PYTHONHOME", "FEATURESTORE_STORE"}
    environment = {name: value for name, value in os.environ.items() if name not in clean} | {"COLUMNS": "80"}
    program = [str(scripts / command[0]), *command[1:]]
    result = subprocess.run(program, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stderr}"
    return result.stdout


def test_it_holds_every_file_of_both_packages(source: Path, wheel: Path) -> None:
    there = {
        str(path.relative_to(source)) for name in PACKAGES for path in (source / name).rglob("*") if path.is_file()
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {
        "featurestore/py.typed",
        "featurestore/collections/movies/sql/labeled.sql",
        "featurestore/storage/FORMAT.md",
    } <= there
    assert held == there


def test_the_source_archive_holds_the_pages_of_a_release(source: Path, tmp_path: Path) -> None:
    with tarfile.open(build("sdist", source, tmp_path)) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "pyproject.toml", "featurestore/storage/FORMAT.md", *PAGES} <= names


def test_its_version_is_the_version_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        about = Parser().parsestr(archive.read(name).decode())
    assert about["Version"] == featurestore.__version__


def test_an_editable_install_warns_of_nothing(source: Path, tmp_path: Path) -> None:
    build("editable", source, tmp_path)


def test_it_works_from_another_folder(scripts: Path, tmp_path: Path) -> None:
    collection = Collection(tmp_path, 24)
    given = ["--metadata", str(collection.metadata), "--images", str(collection.images)]
    run(scripts, "featurestore", "ingest", *given, cwd=tmp_path)
    assert "24 computed" in run(scripts, "featurestore", "embed", "--backbone", "descriptors", cwd=tmp_path)
    assert "24 of 24 images" in run(scripts, "featurestore", "info", cwd=tmp_path)
    count = run(scripts, "featurestore", "sql", "SELECT count(*) FROM collection", "--format", "csv", cwd=tmp_path)
    assert count.splitlines()[-1] == "24"
    place, *shape = run(scripts, "python", "-c", PULL, cwd=tmp_path).split()
    assert Path(place).is_relative_to(scripts.parent), "the wheel is tested, not the repository"
    assert shape == ["20", "1332"]
    for program in PACKAGES:
        assert run(scripts, program, "--version", cwd=tmp_path) == f"{program}, version {featurestore.__version__}\n"
    few = ["--head", "majority", "--folds", "2", "--quick"]
    assert "majority" in run(scripts, "benchmarks", "run", *few, cwd=tmp_path)
    run(scripts, "benchmarks", "report", "-o", "report.html", cwd=tmp_path)
    assert "majority" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_the_first_examples_of_the_readme(scripts: Path, tmp_path: Path) -> None:
    """Those up to the first of `benchmarks`, and the first pull in Python."""
    consoles = [block for kind, _, block in BLOCKS if kind == "console"]
    first = next(place for place, block in enumerate(consoles) if "$ benchmarks" in block)
    assert first >= 1
    for command, expected in (pair for block in consoles[:first] for pair in commands(block)):
        printed = run(scripts, *shlex.split(command), cwd=tmp_path)
        assert matches(expected, printed), f"{command}\nprinted\n{printed}\nexpected\n{expected}"
    pull = next(block for kind, name, block in BLOCKS if kind == "python" and ".features(" in block and not name)
    (tmp_path / "pull.txt").write_text(pull, "utf-8")
    assert run(scripts, "python", "-m", "doctest", "pull.txt", cwd=tmp_path) == ""
