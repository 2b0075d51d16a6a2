"""Loads ``hf:DIR_OR_NAME``, a model of transformers in safetensors, as a backbone."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featurestore._optional import import_extra
from featurestore.backbones.base import Backbone, BackboneSpec, TextScale
from featurestore.backbones.hf.engine import TorchEngine
from featurestore.backbones.hf.families import FAMILIES, pooling_of, prepare, vectors
from featurestore.backbones.hf.folder import ModelFiles, find, look_into
from featurestore.backbones.hf.processor import FILE, from_json
from featurestore.backbones.hf.text import TextTower
from featurestore.backbones.preprocessing import Inputs, Preprocessing
from featurestore.backbones.records import BackboneRecord, LoadOptions, check_weights
from featurestore.errors import BackboneError

# Values that a config may ask for beyond those in the files, as buffers and unused heads are.
FREE_VALUES = 10_000_000
# Weights that a model never reads; a checkpoint may lack them.
UNREAD = ("num_batches_tracked", "mask_token", "position_ids")


def load(record: BackboneRecord, options: LoadOptions) -> Backbone:
    """Load ``hf:DIR_OR_NAME``.

    Raises
    ------
    BackboneError
        When there is no such model here, its files are not what they should be, it is no image model, or what the
        embedding is isn't known.
    """
    if options.target is None:
        raise BackboneError(f"the backbone {record.name!r} needs a folder or a name: hf:DIR_OR_NAME")
    files = look_into(find(options.target))
    pooling = pooling_of(files.model_type, options.pooling)
    how = options.preprocess(_preprocessing(files, options))
    weights = files.hash()
    check_weights(files.folder, weights, expected=options.expected_weights)
    torch = import_extra("torch", "torch", needed_by="a model of transformers")
    engine = TorchEngine(torch, precision=options.precision, threads=options.threads)
    model = _model(files, engine, pooling)
    precision = {} if options.precision == "fp32" else {"precision": options.precision}
    embed_dim = _length(files, model, engine, how=how, pooling=pooling)
    notes = engine.choose_pass(
        lambda count: engine.run(lambda inputs: vectors(model, inputs, pooling), how.apply([_grey(how)] * count))
    )
    spec = BackboneSpec(
        name=options.name,
        embed_dim=embed_dim,
        preprocessing=how,
        weights=weights,
        source=options.target.as_posix(),
        options={"pooling": pooling, **precision},
        synthetic=options.synthetic,
        licence=record.licence,
        libraries={**engine.libraries, "transformers": version("transformers")},
        precision=str(engine.dtype).removeprefix("torch."),
        pass_size=engine.pass_size,
        device=engine.device,
        notes=notes,
    )
    family = FAMILIES.get(files.model_type)
    if family is None or not family.text or pooling != "features":
        return TransformersBackbone(spec, model, engine)
    return TransformersTextBackbone(spec, model, engine, TextTower(model, engine, family, folder=files.folder))


class TransformersBackbone:
    """A model of transformers and what of its output is the embedding."""

    def __init__(self, spec: BackboneSpec, model: Any, engine: TorchEngine) -> None:
        self.spec = spec
        self._model, self._engine = model, engine

    def embed(self, images: Inputs) -> NDArray[np.float32]:
        """Preprocessed ``images`` → ``(n, embed_dim)`` float32."""
        pooling = self.spec.options["pooling"]
        return self._engine.run(lambda inputs: vectors(self._model, inputs, pooling), images)


class TransformersTextBackbone(TransformersBackbone):
    """One whose image vectors can be compared with those of texts."""

    def __init__(self, spec: BackboneSpec, model: Any, engine: TorchEngine, tower: TextTower) -> None:
        super().__init__(spec, model, engine)
        self._tower = tower

    @property
    def text_scale(self) -> TextScale:
        """The checkpoint's own temperature."""
        return self._tower.scale

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """``texts`` → ``(n, embed_dim)`` float32; raises `BackboneError` where the folder has no tokenizer."""
        return self._tower.embed(texts) if len(texts) else np.empty((0, self.spec.embed_dim), np.float32)


def _preprocessing(files: ModelFiles, options: LoadOptions) -> Preprocessing:
    if files.processor is not None:
        return from_json(files.processor)
    if options.preprocessing is None:
        raise BackboneError(
            f"{str(files.folder)!r} has no {FILE}: get it too, or say with --preprocessing FIELD=VALUE what it would"
        )
    return Preprocessing(layout="NCHW")


def _model(files: ModelFiles, engine: TorchEngine, pooling: str) -> Any:
    """The model with the files' weights, on the engine's device."""
    transformers: Any = import_extra("transformers", "torch", needed_by="a model of transformers")
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _quiet(transformers):
            config = transformers.AutoConfig.from_pretrained(files.folder, **local)
            prepare(config)
            _check_size(files, config, engine.torch, transformers)
            model, info = transformers.AutoModel.from_pretrained(
                files.folder,
                config=config,
                use_safetensors=True,
                dtype=engine.dtype,
                output_loading_info=True,
                **local,
            )
    except BackboneError:
        raise
    except Exception as error:  # transformers, safetensors and torch raise errors of many kinds
        reason = " ".join(str(error).split())[:200]
        raise BackboneError(
            f"the model in {str(files.folder)!r} can't be loaded ({reason}): get its files again, or use another"
        ) from error
    unread = UNREAD if pooling == "pooler" else (*UNREAD, "pooler.")
    lost = sorted(key for key in info["missing_keys"] if not any(part in key for part in unread))
    if lost:
        raise BackboneError(
            f"the weights in {str(files.folder)!r} lack {len(lost)} tensors, {lost[0]!r} first, which would be random: "
            "get its files again" + (", or choose another --pooling" if lost[0].startswith("pooler.") else "")
        )
    return engine.place(model)


def _check_size(files: ModelFiles, config: Any, torch: Any, transformers: Any) -> None:
    """Refuse a config of a model that is larger than its weights, before it is made and filled with random values."""
    held = files.elements()
    with torch.device("meta"):
        model = transformers.AutoModel.from_config(config, trust_remote_code=False)
    asked = sum(one.numel() for one in (*model.parameters(), *model.buffers()))
    if asked > held + FREE_VALUES:
        raise BackboneError(
            f"config.json in {str(files.folder)!r} describes a model of {asked:,} values, and its weights hold "
            f"{held:,}: get its files again"
        )


def _grey(how: Preprocessing) -> NDArray[np.uint8]:
    side = how.patch or 1
    return np.full((side, side, 3) if how.resize == "patches" else (how.height, how.width, 3), 128, np.uint8)


def _length(files: ModelFiles, model: Any, engine: TorchEngine, *, how: Preprocessing, pooling: str) -> int:
    """The length of a vector, as one pass gives it."""
    try:
        found = engine.run(lambda inputs: vectors(model, inputs, pooling), how.apply([_grey(how)]))
    except BackboneError:
        raise
    except Exception as error:  # a model of another kind may raise anything
        reason = " ".join(str(error).split())[:200]
        raise BackboneError(
            f"the model in {str(files.folder)!r} can't embed an image ({reason}): use an image model, and the size "
            "that it was trained on"
        ) from error
    return int(found.shape[1])


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars, and no notes on tensors of an old classifier, which nobody needs."""
    notes = transformers.utils.logging
    level, bars = notes.get_verbosity(), notes.is_progress_bar_enabled()
    notes.set_verbosity_error()
    notes.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        notes.set_verbosity(level)
        if bars:
            notes.enable_progress_bar()
