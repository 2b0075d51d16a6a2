"""Models of transformers as backbones: their image processors and families as data, and what runs them."""
