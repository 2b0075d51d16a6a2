"""The commands of the README section "More than one machine" run as they stand there, on addresses of this machine."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from ray_nodes import ROOT, start_head
from s3_server import S3Server, s3_server
from support import Collection, missing
from torture.content import content, digest
from torture.launch import in_process
from torture.object_store import digest_of

from featurestore import FeatureStore
from featurestore.storage.bucket import Bucket

SECTION = (ROOT / "README.md").read_text("utf-8").partition("\n## More than one machine\n")[2].partition("\n## ")[0]
OWN = """
from featurestore import from_callable

mean_colour = from_callable(lambda images: images.mean((1, 2)), name="mean_colour", revision="1", embed_dim=3)
"""
# The first words of each command with arguments; another one is a command that no test runs.
COMMANDS = {
    "sbatch": "Shards",
    "featurestore ingest": "Images on an object store",
    "featurestore embed": "On a Ray cluster",
    "benchmarks run": "On a Ray cluster",
    "export RAY_AUTH_MODE=token": "On a Ray cluster",
    "pip install": "A store on an object store",
}


def spans(title: str) -> list[str]:
    """What stands in backquotes below a heading of the section, each on one line."""
    text = re.sub(r"```.*?```", "", SECTION.partition(f"\n### {title}\n")[2].partition("\n### ")[0], flags=re.S)
    assert text, title
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", text)]


def span(title: str, begins: str) -> str:
    """The one that begins so."""
    (found,) = {one for one in spans(title) if one.startswith(begins)}
    return found


def test_every_command_of_the_section_is_known_here() -> None:
    titles = re.findall(r"^### (.*)$", SECTION, flags=re.M)
    found = [
        (one, title) for title in titles for one in spans(title) if re.match(r"\w+ .*[ -]", one) and " " in one.strip()
    ]
    for begins, title in COMMANDS.items():
        assert span(title, begins)
    strange = [one for one, title in found if not any(one.startswith(b) and COMMANDS[b] == title for b in COMMANDS)]
    assert strange == []


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "my.py"
    path.write_text(OWN)
    return path


@pytest.fixture
def local(store: FeatureStore, own: Path, tmp_path: Path) -> str:
    """The content hash of an embed on this machine."""
    copy = shutil.copytree(store.path, tmp_path / "local")
    run(f"featurestore embed --store {copy} --backbone-file {own}")
    return digest(content(copy))


def run(command: str) -> str:
    done = in_process(shlex.split(command))
    assert done.code == 0, f"{command}\n{done.err}"
    return done.out


def test_shards(store: FeatureStore, own: Path, local: str, tmp_path: Path) -> None:
    found = re.fullmatch(r"sbatch --array=1-(\d+) --wrap '(featurestore embed .*)'", span("Shards", "sbatch"))
    assert found is not None
    template = found[2].replace("…", f"--store {store.path} --backbone-file {own}")
    template = template.replace("/shared/shards", str(tmp_path / "shards"))
    for number in reversed(range(1, int(found[1]) + 1)):
        run(template.replace("$SLURM_ARRAY_TASK_ID", str(number)))
    publish = span("Shards", "publish").replace("DIR…", str(tmp_path / "shards"))
    (report,) = json.loads(run(f"featurestore {publish} --store {store.path} --json"))
    assert report["missing"] == 0
    assert digest(content(store.path)) == local


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server with the bucket that the section names, and the variables by which it says that keys come."""
    if reason := missing("moto", "obstore"):
        pytest.skip(reason)
    title = "A store on an object store"
    for name in (one for one in spans(title) if re.fullmatch("AWS_[A-Z_]+", one)):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv(span(title, "FEATURESTORE_CACHE"), str(tmp_path / "cache"))
    with s3_server() as running:
        running.make_bucket("bucket")
        yield running


def here(address: str, server: S3Server) -> str:
    """An address of the section on the server of the test."""
    title = "A store on an object store"
    more = span(title, "&endpoint_override=").replace("HOST:PORT", server.host) + span(title, "&scheme=")
    return re.sub(r"'(s3://bucket/[^']*)'", lambda found: f"'{found[1]}{more}'", address)


def test_a_store_on_an_object_store(
    server: S3Server, collection: Collection, own: Path, local: str, tmp_path: Path
) -> None:
    store = here(span("A store on an object store", "--store "), server)
    run(f"featurestore ingest {store} --images {collection.images} --metadata {collection.metadata}")
    assert " 24 " in run(f"featurestore embed {store} --backbone-file {own}")
    assert "mean_colour" in run(f"featurestore info {store}")
    run(f"featurestore gc {store}")
    assert digest_of(FeatureStore(shlex.split(store)[1])) == local
    assert list((tmp_path / "cache").rglob("part-*.parquet"))


def test_images_on_an_object_store(server: S3Server, collection: Collection, own: Path, tmp_path: Path) -> None:
    title = "Images on an object store"
    store, ingest = tmp_path / "new", here(span(title, "featurestore ingest"), server)
    photos = Bucket(shlex.split(ingest)[-1])
    for path in collection.images.iterdir():
        photos.put(path.name, path)
    run(f"{ingest} --store {store}")
    run(f"featurestore embed --store {store} --backbone-file {own}")
    folder = shlex.split(ingest)[-1].replace("/photos?", "/photos/101.jpg?")
    image = span(title, "--image ").replace("s3://…", f"'{folder}'")
    assert "101" in run(f"featurestore similar --store {store} --backbone mean_colour {image}")


def as_process(command: str) -> str:
    """Ray reads its variables when it is imported, once a process."""
    program, *arguments = shlex.split(command)
    done = subprocess.run(
        [sys.executable, "-m", f"{program}.commands.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


@pytest.mark.cluster
def test_on_a_ray_cluster(
    store: FeatureStore, own: Path, local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    title = "On a Ray cluster"
    token = tmp_path / "token"
    token.write_text("0123456789abcdef" * 4)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    settings = span(title, "export ").replace("FILE", str(token)).split()[1:]
    for name, value in (one.split("=") for one in (*settings, span(title, "RAY_USAGE_STATS_ENABLED="))):
        monkeypatch.setenv(name, value)
    embed, bench = (span(title, words) for words in ("featurestore embed", "benchmarks run"))
    assert {"HOST:6379", "auto", "--workers", "--include-dashboard=false"} <= set(spans(title))
    sizes = [one for one in ("--cluster-workers", "--worker-cpus", "--worker-gpus") if one in spans(title)]
    head = start_head(tmp_path / "nodes")
    try:
        monkeypatch.setenv("RAY_ADDRESS", head.address)  # of several clusters on this machine `auto` may find another
        more = " ".join(f"{size} {value}" for size, value in zip(sizes, (1, 0.5, 0), strict=True))
        for number, address in enumerate((head.client, head.address, "auto")):
            copy = shutil.copytree(store.path, tmp_path / f"store-{number}")
            on = embed.replace("…", f"--store {copy} --backbone-file {own}").replace("ray://HOST:10001", address)
            assert on.endswith(f"--on {address}")
            as_process(f"{on} {more}" if number else on)
            assert digest(content(copy)) == local
        cells = bench.replace("…", f"--store {copy} --protocol study --quick --head ridge")
        assert "1 of 1 cells computed" in as_process(f"{cells} {head.address} --workers 1")
    finally:
        head.kill()
