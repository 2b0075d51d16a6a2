"""Frozen backbones: image → embedding. ``registry`` lists them; loaders import TensorFlow only when called."""
