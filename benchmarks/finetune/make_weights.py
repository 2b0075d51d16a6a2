"""`python -m benchmarks.finetune.make_weights DIR` writes random ResNet weights that say so; it trains nothing."""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.finetune.weights import quiet
from featurestore._optional import import_extra


def make_weights(folder: Path, *, seed: int = 0, architecture: Mapping[str, Any] | None = None) -> Path:
    """Write random weights of the true ResNet50 architecture, marked ``"synthetic": true`` in ``config.json``.

    Parameters
    ----------
    architecture
        Settings of another ResNet, as of ``transformers.ResNetConfig``.
    """
    torch = import_extra("torch", "bench", needed_by="making weights")
    transformers = import_extra("transformers", "bench", needed_by="making weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = transformers.ResNetModel(transformers.ResNetConfig(**(architecture or {})))
        # Statistics of blurred noise instead of 0 and 1, else activations double from block to block.
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None
        with torch.no_grad():
            model.train()(_noise(torch, 16))
    folder.mkdir(parents=True, exist_ok=True)
    model.config.synthetic = True
    with quiet():
        model.save_pretrained(folder)
    config = folder / "config.json"
    # The mark is what the bench trusts: written here, whatever the library keeps of unknown settings.
    config.write_text(json.dumps(json.loads(config.read_text("utf-8")) | {"synthetic": True}, indent=2), "utf-8")
    return folder


def _noise(torch: Any, count: int) -> Any:
    """Noise images with a power spectrum like that of photographs: ``(count, 3, 134, 91)``."""
    parts = [torch.randn(count, 3, rows, rows) for rows in (2, 6, 18, 54)]
    wide = [torch.nn.functional.interpolate(part, size=(134, 91), mode="bilinear") for part in parts]
    return torch.stack(wide).sum(dim=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write random ResNet50 weights, marked as synthetic.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"random weights, marked synthetic: {make_weights(options.folder, seed=options.seed)}")
