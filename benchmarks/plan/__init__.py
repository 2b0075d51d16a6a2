"""What is compared: the data of a feature view, the splits, the checks, and the records of a run."""
