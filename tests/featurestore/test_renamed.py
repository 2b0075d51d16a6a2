"""An old public name works for one more version, with a sentence that says what it is called now."""

import re
from collections.abc import Callable

import pytest

import benchmarks
import featurestore
from featurestore import _optional

SENTENCE = "is called {!r} now: the next major version no longer takes the old name"


@pytest.fixture(autouse=True)
def renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {
        "featurestore": {"Store": "FeatureStore"},
        "benchmarks": {"contrast": "compare"},
        "the command line": {"query": "sql", "form": "format"},
    }
    monkeypatch.setattr(_optional, "RENAMED", names)


def test_a_name_of_a_package() -> None:
    with pytest.warns(FutureWarning, match=re.escape(SENTENCE.format("FeatureStore"))) as caught:
        assert featurestore.Store is featurestore.FeatureStore  # type: ignore[attr-defined]
    assert caught[0].filename == __file__
    with pytest.warns(FutureWarning, match=re.escape(SENTENCE.format("compare"))):
        assert benchmarks.contrast is benchmarks.compare  # type: ignore[attr-defined]
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        featurestore.Nothing  # type: ignore[attr-defined]  # noqa: B018
    assert "Store" not in dir(featurestore)


def test_a_command_and_an_option(invoke: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = invoke("query", "SELECT 1 AS x", "--form", "csv")
    assert (code, out) == (0, '"x"\n1\n')
    assert SENTENCE.format("sql") in err
    assert SENTENCE.format("format") in err
    code, out, err = invoke("sql", "SELECT 1 AS x", "--format", "csv")
    assert (code, out, err) == (0, '"x"\n1\n', "")
