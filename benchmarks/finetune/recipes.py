"""What is trained and how, as records: the study's recipe, a good one, both from scratch; it trains nothing itself."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.heads.base import HeadSpec
from benchmarks.heads.registry import HEADS
from featurestore.errors import InputError, alike

if TYPE_CHECKING:
    from benchmarks.finetune.weights import Weights

FACTORY = "benchmarks.finetune.train:fit_predict"
FROZEN_HEAD = "logistic_regression"


@dataclass(frozen=True)
class Recipe:
    """One way to fine-tune.

    Parameters
    ----------
    trained
        ``head``: the new last layer; ``stage``: that and the last stage; ``all``: the whole network; ``nothing``: the
        network stays as it is, and logistic regression learns from its pooled features.
    inputs
        The stages of `benchmarks.finetune.frozen_features` that are computed once and cached.
    optimizer, schedule
        ``adam`` or ``adamw``; ``constant`` or ``cosine`` (one epoch of warm-up, then down to zero).
    learning_rate, body_learning_rate
        Of the last layer, and of what else is trained.
    flip
        Train on images and their mirror images, predict with the mean of both.
    mixup
        Of the inputs of what is trained: for ``stage`` these are activations (manifold mixup); 0 is none.
    """

    name: str
    about: str
    trained: str
    inputs: tuple[str, ...]
    epochs: int = 100
    batch_size: int = 32
    optimizer: str = "adam"
    schedule: str = "constant"
    learning_rate: float = 1e-3
    body_learning_rate: float = 0.0
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    flip: bool = False
    logistic_start: bool = False
    random: bool = True

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that decides the result, besides data, weights and seed."""
        return {name: value for name, value in asdict(self).items() if name not in ("name", "about", "random")}

    @property
    def code_hash(self) -> str:
        """16 hex digits of this package's files and of the layer that the ``head`` recipe trains."""
        return _code_hash()

    @property
    def spec(self) -> HeadSpec:
        """The record under which its rows are planned and stored like those of any head."""
        settings = self.settings | {"code_hash": self.code_hash}
        if self.trained == "nothing":
            frozen = HEADS[FROZEN_HEAD]
            settings = {"code_hash": self.code_hash, "flip": self.flip, "inputs": self.inputs}
            settings |= {"head": [frozen.code_hash, dict(frozen.parameters)]}
        return HeadSpec(self.name, self.about, FACTORY, settings, random=self.random)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "resnet50_head",
            "the study's fine-tuning: ResNet50, only the new last layer trained, Adam 1e-3, batch 32, 100 epochs",
            trained="head",
            inputs=("pooled",),
        ),
        # Settings as they are usual for few images; none was chosen by looking at images.
        Recipe(
            "resnet50_layer4",
            "ResNet50: last layer from logistic regression, then the last stage too; AdamW, cosine, flips, mixup",
            trained="stage",
            inputs=("pooled", "maps"),
            epochs=12,
            optimizer="adamw",
            schedule="cosine",
            learning_rate=3e-4,
            body_learning_rate=1e-4,
            weight_decay=0.05,
            label_smoothing=0.1,
            mixup=0.2,
            flip=True,
            logistic_start=True,
        ),
    )
}


# What a fine-tuned network is compared with: the same network, frozen.
TWIN = Recipe(
    "resnet50_frozen",
    "ResNet50 frozen: logistic regression, as the head of that name, on its pooled features",
    trained="nothing",
    inputs=("pooled",),
    random=False,
)
FLIPPED_TWIN = replace(
    TWIN,
    name="resnet50_frozen_flip",
    about="ResNet50 frozen: logistic regression on the mean of the pooled features of image and mirror image",
    inputs=("pooled", "mirrored"),
    flip=True,
)


def twins(recipes: Sequence[Recipe], weights: "Weights") -> list[Recipe]:
    """The frozen rows beside these fine-tuned ones; none from scratch, and with flips only where a recipe has them."""
    if weights.from_scratch or not recipes:
        return []
    flipped = any(recipe.flip for recipe in recipes)
    return [with_weights(twin, weights) for twin in ((TWIN, FLIPPED_TWIN) if flipped else (TWIN,))]


def find(names: Sequence[str]) -> list[Recipe]:
    """The recipes of these names; all of them when ``names`` is empty.

    Raises
    ------
    InputError
        When a name is unknown.
    """
    for name in names:
        if name not in RECIPES:
            hint = alike(name, RECIPES) or f"known are {', '.join(RECIPES)}"
            raise InputError(f"there is no fine-tuning recipe {name!r}: {hint}")
    return [RECIPES[name] for name in dict.fromkeys(names)] or list(RECIPES.values())


def with_weights(recipe: Recipe, weights: "Weights") -> Recipe:
    """The recipe as it runs with these weights, and named so: without any, nothing can stay frozen."""
    if weights.from_scratch:
        recipe = replace(
            recipe,
            about=f"ResNet50 from scratch, every layer trained with the optimiser of {recipe.name}",
            trained="all",
            inputs=("pixels",),
            epochs=100,
            body_learning_rate=recipe.learning_rate,
            logistic_start=False,
        )
    return replace(recipe, name=f"{recipe.name} ({weights.mark})") if weights.mark else recipe


@cache
def _code_hash() -> str:
    here = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in [*sorted(here.glob("*.py")), here.parent / "heads" / "mlp.py"]:
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]
