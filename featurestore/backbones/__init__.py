"""Frozen backbones: image → embedding. The records live in ``registry``; loaders import TensorFlow only when called."""
