"""The network that fine-tuning starts from: found by name or folder, checked, named honestly; it trains nothing."""

import copy
import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.heads.hub import hub_answers
from featurestore._optional import import_extra
from featurestore.errors import InputError

if TYPE_CHECKING:
    from transformers import ResNetConfig, ResNetModel

DEFAULT = "microsoft/resnet-50"
SCRATCH = "none"
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
# Settings of an architecture that its tensors don't tell.
ARCHITECTURE = ("layer_type", "hidden_act", "depths", "hidden_sizes", "downsample_in_bottleneck")


@dataclass(frozen=True)
class Weights:
    """Where a network starts.

    Parameters
    ----------
    name
        As it is shown; says what is special about it.
    sha256
        Of all tensors and the architecture, 64 hex digits.
    synthetic
        Made on the spot, not trained on anything: figures mean nothing beyond speed.
    from_scratch
        There are none: every seed starts at weights of its own.
    """

    name: str
    sha256: str
    synthetic: bool
    from_scratch: bool
    config: "ResNetConfig" = field(repr=False, compare=False)
    model: "ResNetModel | None" = field(default=None, repr=False, compare=False)

    @property
    def mark(self) -> str:
        """What every row must say of them; empty for honest ImageNet weights."""
        resnet50 = list(self.config.depths or ()) == [3, 4, 6, 3] and self.config.layer_type == "bottleneck"
        marks = {"from scratch": self.from_scratch, "SYNTHETIC": self.synthetic, "not a ResNet50": not resnet50}
        return ", ".join(mark for mark, holds in marks.items() if holds)

    @property
    def embed_dim(self) -> int:
        """Length of the pooled features."""
        return int(list(self.config.hidden_sizes or ())[-1])

    @property
    def message(self) -> str:
        """One sentence for the rows; empty when there is nothing to say."""
        if self.from_scratch:
            return "trained from scratch, without ImageNet weights"
        return f"SYNTHETIC weights {self.name!r}: random numbers, not ImageNet" if self.synthetic else ""

    def network(self, *, seed: int) -> "ResNetModel":
        """A new network to freeze or train; ``seed`` decides its weights only from scratch."""
        if self.model is not None:
            return copy.deepcopy(self.model)
        import torch
        from transformers import ResNetModel

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return ResNetModel(self.config)


def load(reference: str) -> Weights:
    """Weights by reference.

    Parameters
    ----------
    reference
        A folder with ``config.json`` and ``model.safetensors``, a name on the Hugging Face hub such as
        ``microsoft/resnet-50`` (taken from its cache where it is), or ``none``.

    Raises
    ------
    InputError
        When they can't be had, or are no ResNet; one sentence.
    MissingExtra
        When torch or transformers is not installed.
    """
    import_extra("torch", "bench", needed_by="fine-tuning")
    transformers = import_extra("transformers", "bench", needed_by="fine-tuning")
    if reference == SCRATCH:
        config = transformers.ResNetConfig()
        return Weights("from scratch", _architecture_hash(config).hexdigest(), False, True, config)
    folder = Path(reference).expanduser()
    if not folder.is_dir() and not HUB_NAME.fullmatch(reference):
        raise InputError(
            f"there is no folder of weights {reference!r}: give one with config.json and model.safetensors, "
            f"a name such as {DEFAULT}, or {SCRATCH} to train from scratch"
        )
    is_local = folder.is_dir()
    if is_local:
        _look_into(folder)
    with quiet():
        model = _from_folder(str(folder)) if is_local else _from_hub(reference)
    name = folder.resolve().name if is_local else reference
    synthetic = bool(getattr(model.config, "synthetic", False))
    digest = _architecture_hash(model.config)
    for key, tensor in sorted(model.state_dict().items()):
        if not key.endswith("num_batches_tracked"):
            digest.update(key.encode() + tensor.contiguous().numpy().tobytes())
    return Weights(name, digest.hexdigest(), synthetic, False, model.config, model)


def _look_into(folder: Path) -> None:
    try:
        kind = json.loads((folder / "config.json").read_text("utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(
            f"the folder {str(folder)!r} has no readable config.json: expected a ResNet as transformers saves it"
        ) from error
    if kind != "resnet":
        raise InputError(f"config.json in {str(folder)!r} describes a {kind!r}, expected a 'resnet'")
    if not list(folder.glob("*.safetensors")):
        raise InputError(f"the folder {str(folder)!r} holds no .safetensors file; other formats are not loaded")


def _from_folder(reference: str, *, local_only: bool = True) -> Any:
    from transformers import ResNetModel

    try:
        loaded: Any = ResNetModel.from_pretrained(
            reference, use_safetensors=True, local_files_only=local_only, output_loading_info=True
        )
        model, info = loaded
    except Exception as error:  # transformers raises OSError, safetensors and torch errors of their own
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"the weights {reference!r} can't be loaded: {reason}") from error
    # Tensors that the files lack would be random without a warning.
    lost = sorted(key for key in info["missing_keys"] if not key.endswith("num_batches_tracked"))
    if lost:
        raise InputError(f"the weights {reference!r} lack {len(lost)} tensors, {lost[0]!r} first: get the files again")
    return model.float().eval()


def _from_hub(name: str) -> Any:
    try:
        return _from_folder(name)
    except InputError as missing:
        if not hub_answers():
            raise InputError(
                f"the weights {name!r} are not in the cache of the Hugging Face hub and it can't be reached: "
                f"give a local folder, or {SCRATCH} to train from scratch"
            ) from missing
    return _from_folder(name, local_only=False)


def _architecture_hash(config: Any) -> Any:
    return hashlib.sha256(json.dumps({name: getattr(config, name) for name in ARCHITECTURE}).encode())


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no notes on tensors of the old classifier, which nobody needs."""
    from transformers.utils import logging as notes

    level, bars = notes.get_verbosity(), notes.is_progress_bar_enabled()
    hub = logging.getLogger("huggingface_hub")
    before = hub.level
    notes.set_verbosity_error()
    notes.disable_progress_bar()
    hub.setLevel(logging.ERROR)
    try:
        yield
    finally:
        notes.set_verbosity(level)
        hub.setLevel(before)
        if bars:
            notes.enable_progress_bar()
