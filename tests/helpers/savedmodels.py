"""SavedModels of the true signature, made on the spot: random weights, so synthetic by name and flag."""

from pathlib import Path
from typing import Any

import numpy as np
from support import needs


def hub_module(folder: Path, *, embed_dim: int = 2048, seed: int = 0, pooled: bool = True) -> Path:
    """A module as the hub's feature vectors are: callable with images, `trainable` variables, four dimensions in."""
    needs("tensorflow")
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            rng = np.random.default_rng(seed)
            self.kernel = tf.Variable(rng.normal(size=(8, 8, 3, embed_dim)).astype(np.float32), name="kernel")

        @tf.function
        def __call__(self, inputs: Any, training: bool = False) -> Any:
            small = tf.nn.avg_pool2d(inputs, 28, 28, "VALID")
            maps = tf.nn.relu(tf.nn.conv2d(small, self.kernel, 1, "VALID"))
            return tf.reduce_mean(maps, [1, 2], keepdims=not pooled)

    module = Module()
    images = tf.TensorSpec([None, 224, 224, 3], tf.float32)
    # The hub's modules hold a trace for each value of `training`, and a signature beside them.
    module.__call__.get_concrete_function(images, training=True)
    signature = module.__call__.get_concrete_function(images, training=False)
    tf.saved_model.save(module, str(folder), signatures=signature)
    return folder


def signature_only(folder: Path) -> Path:
    """A model that has nothing but a signature, with whole-number scores sorting before its 8-d embedding."""
    needs("tensorflow")
    import tensorflow as tf

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 224, 224, 3], tf.float32)])
        def predict(self, pictures: Any) -> Any:
            vectors = tf.reshape(tf.nn.avg_pool2d(pictures, 112, 112, "VALID"), [-1, 12])[:, :8]
            return {"a_class": tf.argmax(vectors, 1), "b_maps": pictures[:, :2, :2], "c_embedding": vectors}

    module = Module()
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.predict})
    return folder


def tflite_files(folder: Path) -> dict[str, Path]:
    """One tiny 32 × 32 model with 16-d vectors as TFLite, its input and output ``float32``, ``uint8`` and ``int8``."""
    needs("tensorflow")
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(np.random.default_rng(0).normal(size=(8, 8, 3, 16)).astype(np.float32))

        @tf.function(input_signature=[tf.TensorSpec([1, 32, 32, 3], tf.float32)])
        def __call__(self, images: Any) -> Any:
            return tf.reduce_mean(tf.nn.relu(tf.nn.conv2d(images, self.kernel, 4, "VALID")), [1, 2])

    module = Module()
    images = np.random.default_rng(1).random((20, 1, 32, 32, 3), np.float32)
    files = {}
    for kind in (tf.float32, tf.uint8, tf.int8):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([module.__call__.get_concrete_function()], module)
        if kind != tf.float32:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([image] for image in images)
            converter.inference_input_type = converter.inference_output_type = kind
        files[kind.name] = folder / f"tiny-{kind.name}.tflite"
        files[kind.name].write_bytes(converter.convert())
    return files


def keras_export(folder: Path, *, embed_dim: int = 32) -> Path:
    """A Keras model written by ``export``: not callable, but it has ``serve``."""
    needs("tensorflow", "keras")
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((224, 224, 3))
    pooled = keras.layers.AveragePooling2D(32)(inputs)
    outputs = keras.layers.Dense(embed_dim)(keras.layers.Flatten()(pooled))
    keras.Model(inputs, outputs).export(str(folder), verbose=False)
    return folder


def keras_file(path: Path, *, side: int = 96, kind: str = "float32") -> Path:
    """A ``.keras`` file of a network for images of ``side`` pixels, with 24-d vectors."""
    needs("tensorflow", "keras")
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((side, side, 3), dtype=kind)
    values = keras.layers.Rescaling(1 / 255)(inputs) if kind == "uint8" else inputs
    maps = keras.layers.Conv2D(16, 8, strides=8, activation="relu")(values)
    outputs = keras.layers.Dense(24)(keras.layers.GlobalAveragePooling2D()(maps))
    keras.Model(inputs, outputs).save(path)
    return path
