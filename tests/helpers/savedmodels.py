"""SavedModels of the true signature, made on the spot: random weights, so synthetic by name and flag."""

from pathlib import Path
from typing import Any

import numpy as np


def hub_module(folder: Path, *, embed_dim: int = 2048, seed: int = 0, pooled: bool = True) -> Path:
    """A module as the hub's feature vectors are: callable with images, `trainable` variables, four dimensions in."""
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            rng = np.random.default_rng(seed)
            self.kernel = tf.Variable(rng.normal(size=(8, 8, 3, embed_dim)).astype(np.float32), name="kernel")

        @tf.function(input_signature=[tf.TensorSpec([None, 224, 224, 3], tf.float32)])
        def __call__(self, inputs: Any) -> Any:
            small = tf.nn.avg_pool2d(inputs, 28, 28, "VALID")
            maps = tf.nn.relu(tf.nn.conv2d(small, self.kernel, 1, "VALID"))
            return tf.reduce_mean(maps, [1, 2], keepdims=not pooled)

    module = Module()
    tf.saved_model.save(module, str(folder), signatures=module.__call__.get_concrete_function())
    return folder


def keras_export(folder: Path, *, embed_dim: int = 32) -> Path:
    """A Keras model written by ``export``: not callable, but it has ``serve``."""
    import keras

    keras.utils.set_random_seed(0)
    inputs = keras.Input((224, 224, 3))
    pooled = keras.layers.AveragePooling2D(32)(inputs)
    outputs = keras.layers.Dense(embed_dim)(keras.layers.Flatten()(pooled))
    keras.Model(inputs, outputs).export(str(folder), verbose=False)
    return folder
