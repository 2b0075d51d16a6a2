"""The pages of a release agree with the code: changelog, security, citation, and what the README says of them."""

import ast
import re
from datetime import date
from pathlib import Path

import pytest
from support import missing

import featurestore

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG, SECURITY, README = (
    (ROOT / name).read_text("utf-8") for name in ("CHANGELOG.md", "SECURITY.md", "README.md")
)
# The headings of Keep a Changelog.
KINDS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_changelog_begins_with_this_version() -> None:
    versions = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\S+)$", CHANGELOG, flags=re.M)
    assert versions[0][0] == featurestore.__version__
    numbers = [tuple(map(int, version.split("."))) for version, _ in versions]
    assert numbers == sorted(numbers, reverse=True)
    assert all(date.fromisoformat(day) for _, day in versions)
    assert set(re.findall(r"^### (.*)$", CHANGELOG, flags=re.M)) <= KINDS


def test_the_citation_is_of_this_version() -> None:
    if reason := missing("yaml"):
        pytest.skip(reason)
    import yaml

    record = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= record.keys()  # what its schema requires
    assert record["cff-version"] == "1.2.0"
    assert record["type"] == "software"
    assert all(author.keys() <= {"name"} for author in record["authors"])
    assert record["version"] == featurestore.__version__
    assert isinstance(record["date-released"], date)
    assert f"[{record['version']}] - {record['date-released']}" in CHANGELOG
    assert record["license"] == "Apache-2.0"


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.FunctionDef)}


def test_every_test_that_security_names_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", SECURITY)
    assert named
    for file, function in named:
        path = ROOT / "tests" / file
        assert path.is_file(), file
        assert not function or function in functions(path), function


@pytest.mark.parametrize("page", ["CHANGELOG.md", "SECURITY.md", "CITATION.cff"])
def test_the_readme_leads_to_the_page(page: str) -> None:
    assert f"]({page})" in README


def test_every_link_of_the_pages_exists() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", CHANGELOG + SECURITY):
        assert (ROOT / link).exists(), link


def test_names_of_entry_points_and_loggers_are_those_of_the_code() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "featurestore").rglob("*.py"))
    points = set(re.findall(r"`(featurestore\.(?:backbones|collections|pages|tables))`", CHANGELOG))
    assert len(points) == 4
    assert {point for point in points if f'"{point}"' not in sources} == set()
