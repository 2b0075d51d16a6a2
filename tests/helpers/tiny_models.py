"""Tiny models of the families of transformers, with random weights, in folders as hubs hold them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
OPENAI = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
# As published beside the weights, with a smaller size; the keys that are missing are missing there too.
CLIP = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 32},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "do_rescale": True,
    "rescale_factor": 0.00392156862745098,
    "do_normalize": True,
    "do_convert_rgb": True,
    **OPENAI,
}
BIT = {**CLIP, "image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 36}, **IMAGENET}
SIGLIP = {
    "image_processor_type": "SiglipImageProcessor",
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 0.00392156862745098,
    "do_normalize": True,
    **HALF,
}
NAFLEX = {
    "image_processor_type": "Siglip2ImageProcessor",
    "do_resize": True,
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 0.00392156862745098,
    "do_normalize": True,
    "patch_size": 8,
    "max_num_patches": 16,
    **HALF,
}
DINOV3 = {
    "image_processor_type": "DINOv3ViTImageProcessorFast",
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 0.00392156862745098,
    "do_normalize": True,
    **IMAGENET,
}
VIT = {"do_normalize": True, "do_resize": True, "resample": 2, "size": 32, **HALF}
CONVNEXT = {
    "feature_extractor_type": "ConvNextFeatureExtractor",
    "do_normalize": True,
    "do_resize": True,
    "crop_pct": 0.875,
    "resample": 3,
    "size": 32,
    **IMAGENET,
}
DEIT = {**VIT, "feature_extractor_type": "DeiTFeatureExtractor", "resample": 3, "size": 36, "crop_size": 32}
BEIT = {**VIT, "feature_extractor_type": "BeitFeatureExtractor", "do_center_crop": False, "crop_size": 32}
MOBILENET = {"image_processor_type": "MobileNetV1ImageProcessor", "size": {"shortest_edge": 36}, "crop_size": 32}
EFFICIENTNET = {
    "image_processor_type": "EfficientNetImageProcessor",
    "do_center_crop": False,
    "size": {"height": 32, "width": 32},
    "resample": 0,
    "rescale_offset": False,
    "include_top": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.47853944, 0.4732864, 0.47434163],
}
MOBILEVIT = {"image_processor_type": "MobileViTImageProcessor", "size": {"shortest_edge": 36}, "crop_size": 32}

VISION = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
# Large enough that images have different vectors.
SPREAD = {"initializer_range": 0.3}
PATCHED = {**VISION, **SPREAD, "image_size": 32, "patch_size": 8}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2}
WINDOWS = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2], "window_size": 4}


@dataclass(frozen=True)
class Tiny:
    """How to build one: the names of its classes, the settings, and the file of its image processor.

    ``made`` is the name of the image processor's class in transformers; ``text`` the settings of a text tower.
    """

    kind: str
    config: Mapping[str, Any]
    processor: Mapping[str, Any]
    made: str
    text: Mapping[str, Any] = field(default_factory=dict)


TEXT = {**VISION, **SPREAD, "vocab_size": 520}
CLIP_TEXT = {**TEXT, "max_position_embeddings": 24, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
# The towers of SigLIP have one length of vectors.
SPECIAL = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
SIGLIP_TEXT = {**TEXT, **SPECIAL, "max_position_embeddings": 64, "projection_size": 24}
FLEX = {**VISION, **SPREAD, "patch_size": 8, "num_patches": 16}
MODELS: dict[str, Tiny] = {
    "clip": Tiny("CLIP", PATCHED, CLIP, "CLIPImageProcessorPil", CLIP_TEXT),
    "siglip": Tiny("Siglip", PATCHED, SIGLIP, "SiglipImageProcessorPil", SIGLIP_TEXT),
    "siglip2": Tiny("Siglip2", FLEX, NAFLEX, "Siglip2ImageProcessorPil", SIGLIP_TEXT),
    "clip_vision_model": Tiny("CLIPVision", PATCHED, CLIP, "CLIPImageProcessorPil"),
    "siglip_vision_model": Tiny("SiglipVision", PATCHED, SIGLIP, "SiglipImageProcessorPil"),
    "dinov2": Tiny("Dinov2", {**PATCHED, "mlp_ratio": 2}, BIT, "BitImageProcessorPil"),
    "dinov2_with_registers": Tiny("Dinov2WithRegisters", {**PATCHED, "mlp_ratio": 2}, BIT, "BitImageProcessorPil"),
    "dinov3_vit": Tiny("DINOv3ViT", {**PATCHED, "num_register_tokens": 4}, DINOV3, ""),
    "dinov3_convnext": Tiny("DINOv3ConvNext", {"hidden_sizes": [8, 8, 8, 16], "depths": [1, 1, 1, 1]}, DINOV3, ""),
    "vit": Tiny("ViT", PATCHED, VIT, "ViTImageProcessorPil"),
    "vit_mae": Tiny("ViTMAE", PATCHED, VIT, "ViTImageProcessorPil"),
    "vit_msn": Tiny("ViTMSN", PATCHED, VIT, "ViTImageProcessorPil"),
    "ijepa": Tiny("IJepa", PATCHED, VIT, "ViTImageProcessorPil"),
    "deit": Tiny("DeiT", PATCHED, DEIT, "DeiTImageProcessorPil"),
    "beit": Tiny("Beit", PATCHED, BEIT, "BeitImageProcessorPil"),
    "data2vec-vision": Tiny("Data2VecVision", PATCHED, BEIT, "BeitImageProcessorPil"),
    "convnext": Tiny("ConvNext", STAGES, CONVNEXT, "ConvNextImageProcessorPil"),
    "convnextv2": Tiny("ConvNextV2", STAGES, CONVNEXT, "ConvNextImageProcessorPil"),
    "resnet": Tiny("ResNet", {**STAGES, "embedding_size": 8}, CONVNEXT, "ConvNextImageProcessorPil"),
    "regnet": Tiny(
        "RegNet",
        {"hidden_sizes": [8, 16], "depths": [1, 1], "embedding_size": 8, "groups_width": 8},
        CONVNEXT,
        "ConvNextImageProcessorPil",
    ),
    "swin": Tiny("Swin", WINDOWS, VIT, "ViTImageProcessorPil"),
    "swinv2": Tiny("Swinv2", WINDOWS, VIT, "ViTImageProcessorPil"),
    "efficientnet": Tiny(
        "EfficientNet",
        {
            "image_size": 32, "width_coefficient": 0.5, "depth_coefficient": 0.5, "hidden_dim": 640,
            "in_channels": [32, 16], "out_channels": [16, 24], "kernel_sizes": [3, 3], "strides": [1, 2],
            "num_block_repeats": [1, 1], "expand_ratios": [1, 2], "depthwise_padding": [],
        },
        EFFICIENTNET,
        "EfficientNetImageProcessorPil",
    ),
    "mobilenet_v1": Tiny(
        "MobileNetV1", {"image_size": 32, "depth_multiplier": 0.25}, MOBILENET, "MobileNetV1ImageProcessorPil"
    ),
    "mobilenet_v2": Tiny(
        "MobileNetV2",
        {"image_size": 32, "depth_multiplier": 0.25},
        {**MOBILENET, "image_processor_type": "MobileNetV2ImageProcessor"},
        "MobileNetV2ImageProcessorPil",
    ),
    "mobilevit": Tiny(
        "MobileViT",
        {
            "image_size": 32, "patch_size": 2, "hidden_sizes": [8, 8, 8], "num_attention_heads": 2,
            "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 16],
        },
        MOBILEVIT,
        "MobileViTImageProcessorPil",
    ),
}  # fmt: skip


def tiny(name: str, folder: Path, *, tokenizer: bool = True) -> Path:
    """The tiny model ``name`` of `MODELS` in the new ``folder``: config, safetensors, image processor, tokenizer."""
    import torch
    import transformers

    made = MODELS[name]
    config_class = getattr(transformers, f"{made.kind}Config")
    if made.text:
        own = {"projection_dim": 20} if made.kind == "CLIP" else {}
        config = config_class(text_config=dict(made.text), vision_config=dict(made.config), **own)
    else:
        config = config_class(**made.config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = getattr(transformers, f"{made.kind}Model")(config).eval()
        # By default networks without residuals shrink their values to nothing, most of all with SiLU.
        gain = 8.0 if made.kind in ("EfficientNet", "MobileViT") else 1.0
        for part in model.modules():
            if isinstance(part, torch.nn.Conv2d):
                part.weight.data = gain * torch.nn.init.kaiming_normal_(part.weight)
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    if bars:
        transformers.utils.logging.enable_progress_bar()
    (folder / "preprocessor_config.json").write_text(json.dumps(made.processor))
    if made.text and tokenizer:
        TOKENIZERS[name](folder)
    return folder


def tiny_clip(folder: Path) -> Path:
    """A CLIP of 20-d vectors for images of 32 × 32 and texts of 24 tokens, with a tokenizer of single letters."""
    return tiny("clip", folder)


def _letters() -> list[str]:
    from tokenizers import pre_tokenizers

    return sorted(pre_tokenizers.ByteLevel.alphabet())


def _clip_tokenizer(folder: Path) -> None:
    from transformers import CLIPTokenizer

    tokens = ["<|startoftext|>", "<|endoftext|>", *_letters(), *(f"{letter}</w>" for letter in _letters())]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=24).save_pretrained(folder)


def _gemma_tokenizer(folder: Path) -> None:
    """As SigLIP 2 has it; the sentencepiece file of SigLIP can't be written without that package."""
    from transformers import GemmaTokenizer

    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256)), *_letters()]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    GemmaTokenizer(vocab=vocabulary, merges=[], model_max_length=64).save_pretrained(folder)


TOKENIZERS: dict[str, Callable[[Path], None]] = {
    "clip": _clip_tokenizer,
    "siglip": _gemma_tokenizer,
    "siglip2": _gemma_tokenizer,
}
