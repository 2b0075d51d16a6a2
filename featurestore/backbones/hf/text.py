"""The text towers of CLIP, SigLIP and SigLIP 2: tokens, text vectors and the checkpoint's temperature."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.backbones.base import TextScale
from featurestore.backbones.hf.engine import TorchEngine
from featurestore.backbones.hf.families import Family
from featurestore.backbones.hf.processor import read_json
from featurestore.errors import BackboneError

log = logging.getLogger(__name__)
LARGEST_TOKENIZER = 1 << 27
LONGEST_TEXT = 4096
FILES = ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer.model")


class TextTower:
    """Text vectors of one model; the tokenizer is loaded from the model's folder when it is first used."""

    def __init__(self, model: Any, engine: TorchEngine, family: Family, *, folder: Path) -> None:
        self._model, self._engine, self._family, self._folder = model, engine, family, folder
        self._length = min(int(model.config.text_config.max_position_embeddings), LONGEST_TEXT)
        self._tokenizer: Any = None

    @property
    def scale(self) -> TextScale:
        """``exp(logit_scale)`` and ``logit_bias`` of the checkpoint."""
        bias = getattr(self._model, "logit_bias", None)
        return TextScale(float(self._model.logit_scale.float().exp()), 0.0 if bias is None else float(bias))

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``texts`` → ``(n, embed_dim)`` float32, each padded to the length of the tower and computed by itself.

        Raises
        ------
        BackboneError
            When the folder has no usable tokenizer, or it does not belong to the model.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise BackboneError("got one text or other values, expected a list of texts")
        tokens = self._tokens(list(texts))
        if tokens["input_ids"].max() >= self._model.config.text_config.vocab_size:
            raise BackboneError(
                f"the tokenizer in {str(self._folder)!r} has more tokens than the model: get the files again"
            )
        return self._engine.run(self._features, tokens)

    def _features(self, tokens: dict[str, Any]) -> Any:
        found = self._model.get_text_features(**tokens)
        return getattr(found, "pooler_output", found)

    def _tokens(self, texts: Sequence[str]) -> dict[str, NDArray[np.int64]]:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self._folder)
        if self._family.padded:
            texts = [text.lower() for text in texts]
        # One token more than the tower reads shows which texts are cut off.
        longer = self._tokenizer(texts, truncation=True, max_length=self._length + 1)["input_ids"]
        for text, tokens in zip(texts, longer, strict=True):
            if len(tokens) > self._length:
                log.warning("the text %r is longer than %d tokens and was cut off", text[:80], self._length)
        found = self._tokenizer(
            texts, padding="max_length", truncation=True, max_length=self._length, return_tensors="np"
        )
        # SigLIP was trained without a mask: its padding is part of the text.
        names = ("input_ids",) if self._family.padded else ("input_ids", "attention_mask")
        return {name: np.asarray(found[name], np.int64) for name in names}


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer in ``folder``; nothing is downloaded and no code of the folder is run.

    Raises
    ------
    BackboneError
        When there is none, it comes with code, is too large, or can't be loaded.
    """
    present = [folder / name for name in FILES if (folder / name).is_file()]
    if not present:
        raise BackboneError(
            f"{str(folder)!r} has no tokenizer, which texts need: get the model's tokenizer.json and "
            "tokenizer_config.json too"
        )
    settings = folder / "tokenizer_config.json"
    if settings.is_file() and "auto_map" in read_json(settings):
        raise BackboneError(f"the tokenizer in {str(folder)!r} comes with Python code of its own, which is not run")
    if any(path.stat().st_size > LARGEST_TOKENIZER for path in present):
        raise BackboneError(f"the tokenizer in {str(folder)!r} is larger than {LARGEST_TOKENIZER >> 20} MB")
    transformers: Any = import_extra("transformers", "torch", needed_by="a text tower")
    try:
        return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises plain exceptions, transformers many kinds
        reason = " ".join(str(error).split())[:160]
        raise BackboneError(
            f"the tokenizer in {str(folder)!r} can't be loaded ({reason}): get tokenizer.json and "
            "tokenizer_config.json again, and for older SigLIP models pip install sentencepiece protobuf"
        ) from error
