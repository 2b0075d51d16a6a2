"""What is refused before a cluster is reached; `test_cluster.py` connects to one."""

import sys

import pytest

from featurestore import engines
from featurestore.errors import ClusterError, InputError, MissingExtra


@pytest.mark.parametrize(
    "on", ["", "ray", "ray://", "ray://host", "http://host:1", "host:0", "host:70000", "a b:1", "--x:1"]
)
def test_what_is_no_address_is_refused(on: str) -> None:
    with pytest.raises(InputError, match="expected ray://HOST:PORT, HOST:PORT or auto"), engines.connect(on):
        pass


def test_where_nothing_listens_one_sentence_says_so() -> None:
    with (
        pytest.raises(ClusterError, match="no cluster answers"),
        engines.connect("ray://127.0.0.1:1"),
    ):
        pass


def test_without_a_token_only_this_machine_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ClusterError, match="RAY_AUTH_MODE=token"), engines.connect("ray://192.0.2.1:10001"):
        pass
    with pytest.raises(ClusterError, match="no cluster answers"), engines.connect("ray://127.0.0.1:1"):
        pass


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"featurestore\[cluster\]"), engines.connect(engines.AUTO):
        pass


@pytest.mark.parametrize("need", [engines.Need(0, 0), engines.Need(-1), engines.Need(float("nan"))])
def test_impossible_needs_are_refused(need: engines.Need) -> None:
    with pytest.raises(InputError, match="CPUs"):
        need.check()
