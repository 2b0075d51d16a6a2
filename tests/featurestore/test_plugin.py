"""The plugin in the README: its code runs as it stands there, with a stand-in for timm."""

import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import needs

from featurestore import load_backbone
from featurestore.backbones import records

README = Path(__file__).resolve().parents[2] / "README.md"


def stand_in(created: list[tuple[str, str]]) -> types.ModuleType:
    """What the plugin uses of timm."""
    import torch

    class Model(torch.nn.Module):
        num_features = 3

        def forward(self, images: Any) -> Any:
            return images.mean((2, 3))

    def create_model(name: str, *, num_classes: int, checkpoint_path: str) -> Any:
        created.append((name, checkpoint_path))
        return Model()

    config = {"input_size": (3, 24, 24), "crop_pct": 0.75, "interpolation": "bicubic", "mean": (0.5,) * 3}
    timm: Any = types.ModuleType("timm")
    timm.__version__, timm.create_model = "1.0", create_model
    timm.data = types.SimpleNamespace(resolve_model_data_config=lambda model: config | {"std": (0.25,) * 3})
    return timm


def test_the_plugin_of_the_readme_loads_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("torch")
    text = README.read_text("utf-8")
    (code,) = re.findall(r"```py\n(.*?)```", text, flags=re.S)
    (point,) = re.findall(r'^(\w+) = "featurestore_timm:(\w+)"$', text, flags=re.M)
    created: list[tuple[str, str]] = []
    monkeypatch.setitem(sys.modules, "timm", stand_in(created))
    plugin = types.ModuleType("featurestore_timm")
    monkeypatch.setitem(sys.modules, "featurestore_timm", plugin)
    exec(compile(code, str(README), "exec"), vars(plugin))
    entry = types.SimpleNamespace(name=point[0], load=lambda: getattr(plugin, point[1]))
    monkeypatch.setattr(records, "entry_points", lambda group: [entry])
    weights = tmp_path / "resnet50.safetensors"
    weights.write_bytes(b"weights")

    backbone = load_backbone("timm:resnet50", weights=weights, preprocessing={"decode": "draft"})
    how = backbone.spec.preprocessing
    assert created == [("resnet50", str(weights))]
    assert (how.height, how.edge, how.layout, how.decode) == (24, 32, "NCHW", "draft")
    assert backbone.spec.name == "resnet50"
    images = how.apply(np.full((2, 24, 24, 3), 255, np.uint8))
    np.testing.assert_allclose(backbone.embed(images), np.full((2, 3), 2.0))
    weights.write_bytes(b"other weights")
    assert load_backbone("timm:resnet50", weights=weights).spec.weights != backbone.spec.weights
