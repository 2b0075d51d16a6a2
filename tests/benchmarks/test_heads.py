"""One contract for every head."""

import inspect
import pydoc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import benchmarks
from benchmarks.heads.base import HeadSpec
from benchmarks.heads.contract import CHECKS, violations
from benchmarks.heads.registry import HEADS, find, from_file, head
from featurestore.errors import InputError, MissingExtra

CHEAP = {"rounds": 8, "trees": 12, "epochs": 3, "Cs": (1.0, 3.0), "scalings": ("raw", "standard")}
# VGG19 needs weights that no test has, zero_shot a text tower: test_vgg.py and test_zero_shot.py make some.
HERE = {name: spec for name, spec in HEADS.items() if name not in ("vgg19", "zero_shot")}
ALL = pytest.mark.parametrize("spec", HERE.values(), ids=HERE)


def quick(spec: HeadSpec) -> HeadSpec:
    """The same head with fewer rounds: the contract does not depend on them."""
    parameters = {name: CHEAP.get(name, value) for name, value in spec.parameters.items()}
    if "hidden" in parameters:
        parameters["hidden"] = (16, 8)
    if spec.rule == "best":
        parameters["members"] = ("knn", "lda", "linear_svm")
    return replace(spec, parameters=parameters)


def data(n: int = 90, d: int = 120, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """More columns than rows, as embeddings of small collections are."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    X = rng.normal(size=(n, d)).astype(np.float32)
    X[np.arange(n), y] += 3
    return X, y.astype(np.int64)


@ALL
@pytest.mark.parametrize("check", CHECKS)
def test_the_contract(spec: HeadSpec, check: str) -> None:
    CHECKS[check](quick(spec))


@ALL
def test_it_learns(spec: HeadSpec) -> None:
    if spec.name == "majority":
        pytest.skip("the floor learns nothing, by design")
    X, y = data(n=240, d=30)
    X[np.arange(240), y] += 3
    faster = {"hidden": (64, 32), "epochs": 30, "learning_rate": 3e-3} if "hidden" in spec.parameters else {}
    members = {"members": ("knn", "lda")} if spec.rule == "best" else {}
    model = spec.build(seed=0, **faster, **members).fit(X[:180], y[:180])
    accuracy = (np.asarray(model.predict_proba(X[180:])).argmax(1) == y[180:]).mean()
    assert accuracy > 0.8


@ALL
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_no_number_is_refused(spec: HeadSpec, bad: float) -> None:
    X, y = data()
    model = quick(spec).build(seed=0).fit(X, y)
    X[3, 5] = bad
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        quick(spec).build(seed=0).fit(X, y)
    with pytest.raises(ValueError, match=r"NaN|infinity"):
        model.predict_proba(X)


@ALL
def test_random_says_whether_the_seed_matters(spec: HeadSpec) -> None:
    X, y = data()
    X[np.arange(90), y] -= 2  # a hard task: on an easy one all seeds agree
    first, second = (np.asarray(quick(spec).build(seed=seed).fit(X, y).predict_proba(X)) for seed in (0, 1))
    # What chooses among others is as random as its choice.
    assert (first != second).any() == spec.random or spec.rule == "best"


@ALL
def test_the_constructor_only_stores(spec: HeadSpec) -> None:
    from sklearn.base import clone

    model = quick(spec).build(seed=0)
    assert inspect.isclass(type(model))
    twin = clone(model)
    X, y = data()
    np.testing.assert_array_equal(
        np.asarray(model.fit(X, y).predict_proba(X)), np.asarray(twin.fit(X, y).predict_proba(X))
    )


@ALL
def test_the_record_is_complete(spec: HeadSpec) -> None:
    assert spec.name.isidentifier()
    assert 10 < len(spec.about) < 120
    assert len(spec.code_hash) == 16


def test_a_missing_library_is_named_with_its_command() -> None:
    with pytest.raises(MissingExtra, match=r"the head 'own' needs the package 'no_such_library'.*pip install"):
        HeadSpec("own", "", "no_such_library:make").build(seed=0)


def test_a_changed_file_is_another_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    hashes = set()
    for name, text in (("head_a", "x = 1"), ("head_b", "x = 1"), ("head_c", "x = 2")):
        (tmp_path / f"{name}.py").write_text(text)
        hashes.add(HeadSpec("own", "", f"{name}:make").code_hash)
    assert len(hashes) == 2


def test_the_package_shows_its_public_names_alone() -> None:
    assert dir(benchmarks) == sorted(benchmarks.__all__) == ["Comparison", "compare", "head", "significance"]
    assert benchmarks.head is head
    assert "head(name: str" in pydoc.render_doc(benchmarks, renderer=pydoc.plaintext)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = benchmarks.nothing


def test_unknown_heads_get_the_close_ones() -> None:
    with pytest.raises(InputError, match="did you mean 'xgboost'"):
        find(["xgbost"])
    assert [head.name for head in find(["knn", "knn", "lda"])] == ["knn", "lda"]
    assert len(find([])) == len(HEADS) >= 16
    assert len(find([], protocol="cv")) == 13


OWN = """
from sklearn.svm import LinearSVC
from benchmarks import head

@head("own_svm", about="a linear SVM of mine")
def own_svm(*, seed, C=0.1):
    return LinearSVC(C=C, random_state=seed)
"""


def test_an_own_head_in_a_few_lines(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    (spec,) = find(["own_svm"], own=from_file(file))
    assert dict(spec.parameters) == {"C": 0.1}
    assert violations(spec) == {}, "calibrated, since LinearSVC has no probabilities of its own"
    before = spec.code_hash
    other = tmp_path / "other.py"
    other.write_text(OWN + "# changed")
    assert find(["own_svm"], own=from_file(other))[0].code_hash != before
    assert "own_svm" in [one.name for one in find([], own=from_file(file), protocol="cv")]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("x = 1", "marks no head"),
        ("1 / 0", "can't be run: ZeroDivisionError"),
        ("raise SystemExit(0)", "can't be run: SystemExit"),
        (OWN.replace('"own_svm"', '"Own SVM"'), "expected lower case letters, digits and underscores"),
        (OWN.replace("own_svm", "knn"), "a name that is taken"),
        (OWN.replace("*, seed, ", ""), "expected a keyword `seed`"),
    ],
)
def test_files_without_good_heads(tmp_path: Path, code: str, sentence: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(code)
    with pytest.raises(InputError, match=sentence):
        find([], own=from_file(file))


@pytest.mark.parametrize(("given", "sentence"), [("None", "gave NoneType"), ("LinearSVC", "gave the class LinearSVC")])
def test_a_factory_that_gives_no_classifier(tmp_path: Path, given: str, sentence: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(OWN.replace("LinearSVC(C=C, random_state=seed)", given))
    (spec,) = find(["own_svm"], own=from_file(file))
    with pytest.raises(InputError, match=sentence):
        spec.build(seed=0)
    assert "gave" in violations(spec)["probabilities"]


def test_a_file_of_heads_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected an existing \.py file"):
        from_file(tmp_path / "none.py")


@pytest.mark.parametrize(
    ("factory", "check"),
    [
        ("failing_heads:batch_scaler", "rows_alone"),
        ("failing_heads:changes_input", "probabilities"),
        ("failing_heads:unseeded", "seed"),
        ("failing_heads:wants_test_rows", "probabilities"),
        ("failing_heads:takes_nan", "nan"),
    ],
)
def test_the_contract_finds_what_is_wrong(factory: str, check: str) -> None:
    assert check in violations(HeadSpec("own", "breaks the contract", factory))
