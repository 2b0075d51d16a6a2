"""An embed of n images takes a number of commits that grows with log n, and parts and manifests that grow with n."""

from pathlib import Path

from perf.growth_of_commits import measure


def test_commits_grow_with_the_logarithm_of_the_images(tmp_path: Path) -> None:
    few, many = measure(tmp_path / "few", 2_000), measure(tmp_path / "many", 16_000)
    assert (few.commits, few.parts) == (2, 2)
    assert many.commits <= few.commits + 10, "eight times the images: three doublings at a quarter each"
    assert many.parts <= 16
    assert many.manifest_bytes <= 10 * few.manifest_bytes
