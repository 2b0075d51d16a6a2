"""What of a model's output is the embedding, for each family of transformers; it loads no model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from featurestore.errors import BackboneError

Pooling = Literal["cls", "mean", "cls+mean", "pooler", "features"]
POOLINGS: tuple[str, ...] = get_args(Pooling)


@dataclass(frozen=True)
class Family:
    """What is known of a ``model_type``.

    Parameters
    ----------
    pooling
        The embedding by default. ``features``: the image vector that is compared with texts, projected where the
        family has a projection. ``pooler``: what the model itself pools. ``cls``: the first token. ``mean``: of the
        tokens of patches, or of a map's places. ``cls+mean``: both, one after the other.
    prefix
        Number of tokens before those of the patches, without registers; the first is the class token.
    text
        Whether there is a text tower.
    padded
        Whether the text tower was trained on texts that are padded to one length without a mask, in lower case.
    """

    pooling: Pooling
    prefix: int = 0
    text: bool = False
    padded: bool = False


_CLASS_TOKEN, _POOLED = Family("cls", 1), Family("pooler")
FAMILIES: dict[str, Family] = {
    "beit": Family("pooler", 1),
    "clip": Family("features", 1, text=True),
    "clip_vision_model": Family("pooler", 1),
    "convnext": _POOLED,
    "convnextv2": _POOLED,
    "data2vec-vision": Family("mean", 1),
    "deit": Family("cls", 2),
    "dinov2": _CLASS_TOKEN,
    "dinov2_with_registers": _CLASS_TOKEN,
    "dinov3_convnext": Family("pooler", 1),
    "dinov3_vit": _CLASS_TOKEN,
    "efficientnet": _POOLED,
    "ijepa": Family("mean"),
    "mobilenet_v1": _POOLED,
    "mobilenet_v2": _POOLED,
    "mobilevit": _POOLED,
    "regnet": _POOLED,
    "resnet": _POOLED,
    "siglip": Family("features", text=True, padded=True),
    "siglip2": Family("features", text=True, padded=True),
    "siglip_vision_model": _POOLED,
    "swin": _POOLED,
    "swinv2": _POOLED,
    "vit": _CLASS_TOKEN,
    "vit_mae": _CLASS_TOKEN,
    "vit_msn": _CLASS_TOKEN,
}


def pooling_of(model_type: str, chosen: str | None) -> str:
    """``chosen``, or what the family takes.

    Raises
    ------
    BackboneError
        When it is not one of `POOLINGS`, or nothing is chosen for an unknown family.
    """
    choices = ", ".join(POOLINGS)
    if chosen is not None and chosen not in POOLINGS:
        raise BackboneError(f"got the pooling {chosen[:60]!r}, expected one of {choices}")
    if chosen is None and model_type not in FAMILIES:
        raise BackboneError(
            f"what the embedding of a {model_type!r} model is, isn't known: choose it with --pooling, one of {choices}"
        )
    return chosen or FAMILIES[model_type].pooling


def prepare(config: Any) -> None:
    """Change settings of a loaded config that make vectors random."""
    if config.model_type == "vit_mae":
        config.mask_ratio = 0.0


def vectors(model: Any, inputs: Mapping[str, Any], pooling: str) -> Any:
    """The embeddings ``(n, d)`` of ``inputs``, tensors by the names of the model's arguments.

    Raises
    ------
    BackboneError
        When the model's output has no such part.
    """
    if pooling == "features":
        if not hasattr(model, "get_image_features"):
            raise _missing(model, pooling, "only models with a text tower have them")
        found = model.get_image_features(**inputs)
        return getattr(found, "pooler_output", found).flatten(1)
    output = _output(model, inputs)
    if pooling == "pooler":
        pooled = getattr(output, "pooler_output", None)
        if pooled is None:
            raise _missing(model, pooling, "it pools nothing")
        return pooled.flatten(1)
    tokens = output.last_hidden_state
    if tokens.ndim == 4 and pooling == "mean":
        return tokens.mean((2, 3))
    if tokens.ndim != 3:
        raise _missing(model, pooling, "it has no tokens")
    return _of_tokens(model, tokens, inputs.get("pixel_attention_mask"), pooling)


def _of_tokens(model: Any, tokens: Any, mask: Any, pooling: str) -> Any:
    """The embedding of tokens ``(n, t, d)``; ``mask`` ``(n, t)`` is 0 for those of padding."""
    import torch

    config = model.config
    family = FAMILIES.get(config.model_type)
    prefix = family.prefix if family else 0
    if pooling != "mean" and family and not prefix:
        raise _missing(model, pooling, "it has no class token")
    if prefix or (family is None and pooling == "cls+mean"):
        prefix = max(prefix, 1) + int(getattr(config, "num_register_tokens", 0) or 0)
    if pooling == "cls":
        return tokens[:, 0]
    patches = tokens[:, prefix:]
    if mask is None:
        mean = patches.mean(1)
    else:
        weight = mask[..., None].to(patches.dtype)
        mean = (patches * weight).sum(1) / weight.sum(1)
    return mean if pooling == "mean" else torch.cat([tokens[:, 0], mean], 1)


def _output(model: Any, inputs: Mapping[str, Any]) -> Any:
    """What the image tower returns."""
    import torch

    if model.config.model_type == "vit_mae":
        # Without it the patches are shuffled by chance, which changes the last bits.
        pixels = inputs["pixel_values"]
        count = (pixels.shape[2] // model.config.patch_size) * (pixels.shape[3] // model.config.patch_size)
        order = torch.arange(count, device=pixels.device).repeat(len(pixels), 1)
        return model(**inputs, noise=order)
    tower = model.vision_model if hasattr(model, "get_image_features") else model
    return tower(**inputs)


def _missing(model: Any, pooling: str, reason: str) -> BackboneError:
    return BackboneError(
        f"a {model.config.model_type!r} model has no {pooling!r} ({reason}): choose another with --pooling, one of "
        f"{', '.join(POOLINGS)}"
    )
