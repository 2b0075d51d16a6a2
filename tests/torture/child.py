"""One command of the product in a process of its own, with a cheap backbone that counts; what the faults are done to.

    python child.py featurestore|benchmarks ARGUMENTS…

``TORTURE_PASSES`` names a file that gets a line a forward pass, ``TORTURE_STARTED`` one that appears when the command
begins; ``TORTURE_PUBLISH_ROWS`` and ``TORTURE_FLUSH_SECONDS`` make commits as frequent as in a store of real size.
"""

import os
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parents[1] / "helpers")]

from support import CountingBackbone, distinct  # noqa: E402

from featurestore.backbones.records import RECORDS, BackboneRecord, LoadOptions  # noqa: E402
from featurestore.commands.options import run_command  # noqa: E402


class Backbone(CountingBackbone):
    """Counts in a file, which survives the process."""

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `CountingBackbone.embed`."""
        with open(os.environ["TORTURE_PASSES"], "a") as file:
            file.write(f"{distinct(images)}\n")
        return super().embed(images)


def load(record: BackboneRecord, options: LoadOptions) -> Backbone:
    """The loader of the record `counting`."""
    return Backbone(name=options.name)


def main() -> int:
    """Run the command in ``sys.argv`` and return its exit code."""
    RECORDS["counting"] = BackboneRecord(
        name="counting", loader="__main__:load", description="block means; counts its forward passes"
    )
    program = sys.argv[1]
    if program == "benchmarks":
        from benchmarks.commands.cli import cli
        from benchmarks.run import execution

        execution.FLUSH_SECONDS = float(os.environ.get("TORTURE_FLUSH_SECONDS", execution.FLUSH_SECONDS))
    else:
        from featurestore.commands.cli import cli
        from featurestore.embedding import compute

        compute.SHARD_VECTORS = int(os.environ.get("TORTURE_PUBLISH_ROWS", compute.SHARD_VECTORS))
    if "TORTURE_STARTED" in os.environ:
        Path(os.environ["TORTURE_STARTED"]).touch()
    sys.argv = sys.argv[1:]
    return run_command(cli, program)


if __name__ == "__main__":
    sys.exit(main())
