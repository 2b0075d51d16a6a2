"""Loads what `featurestore backbone convert` wrote, without TensorFlow."""

from dataclasses import replace
from pathlib import Path

from featurestore.backbones import openvino, tflite
from featurestore.backbones.base import Backbone, BackboneSpec
from featurestore.backbones.card import ConversionCard, read_card
from featurestore.backbones.records import BackboneRecord, LoadOptions, check_weights
from featurestore.backbones.signature import preprocessing_of
from featurestore.errors import BackboneError
from featurestore.files import file_hash


def load(record: BackboneRecord, options: LoadOptions) -> Backbone:
    """Load ``converted:DIR``.

    Raises
    ------
    BackboneError
        When the folder is not whole, its files are not those of its card, or they don't give such vectors.
    """
    folder = options.target or Path()
    card = read_card(folder)
    check_weights(folder, card.weights, expected=options.expected_weights)
    _check_precision(card, options.precision, folder)
    _check_files(card, folder)
    spec = BackboneSpec(
        name=options.name if options.named else card.name,
        embed_dim=card.embed_dim,
        preprocessing=card.how(),
        weights=card.weights,
        source=card.source,
        options=dict(card.options),
        synthetic=card.synthetic or options.synthetic,
        licence=card.licence,
    )
    return _openvino(spec, options, folder) if card.precision == "fp32" else _litert(spec, options, card, folder)


def _openvino(spec: BackboneSpec, options: LoadOptions, folder: Path) -> Backbone:
    path = folder / "model.xml"
    model = openvino.read(path)
    how = preprocessing_of(openvino.image_input(model, path), options, path, base=spec.preprocessing)
    openvino.of_one_image(model, how, path)
    model, _, embed_dim = openvino.with_output(model, None, path)
    _check_length(embed_dim, spec, folder)
    return openvino.backbone_of(model, replace(spec, preprocessing=how), options, path)


def _litert(spec: BackboneSpec, options: LoadOptions, card: ConversionCard, folder: Path) -> Backbone:
    chosen = replace(
        options,
        target=folder / "model.tflite",
        preprocessing=options.preprocess(spec.preprocessing),
        expected_weights=None,
    )
    backbone = tflite.load_file(chosen)
    _check_length(backbone.spec.embed_dim, spec, folder)
    note = f"int8: mean cosine {card.mean_cosine:.5f} to fp32 on {card.images} {card.checked_on} images"
    backbone.spec = replace(
        spec,
        preprocessing=backbone.spec.preprocessing,
        source=f"{spec.source}; {note}",
        libraries=backbone.spec.libraries,
        precision="int8",
        pass_size=1,
        notes=(note,),
    )
    return backbone


def _check_precision(card: ConversionCard, precision: str, folder: Path) -> None:
    if card.precision == "fp32":
        openvino.check_precision(precision, "a model converted in fp32")
    elif precision not in ("fp32", card.precision):
        raise BackboneError(f"{str(folder)!r} was converted in {card.precision}: leave out --precision {precision}")


def _check_files(card: ConversionCard, folder: Path) -> None:
    for name, digest in card.files.items():
        path = folder / name
        if not path.is_file():
            raise BackboneError(f"{str(folder)!r} lacks the file {name}: copy the whole folder, or convert again")
        if file_hash(path) != digest:
            raise BackboneError(f"{str(path)!r} is not the file that was converted (another SHA-256): convert again")


def _check_length(embed_dim: int, spec: BackboneSpec, folder: Path) -> None:
    if embed_dim != spec.embed_dim:
        raise BackboneError(
            f"{str(folder)!r} gives {embed_dim}-d vectors, its card says {spec.embed_dim}: convert again"
        )
