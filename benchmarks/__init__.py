"""What is compared: classifier heads over the embeddings of a feature store, next to published figures."""
