"""Fine-tuned ResNet50, the baseline that embeddings are compared with; it emits the rows of any head."""
