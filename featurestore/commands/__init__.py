"""The commands of `featurestore`, a file for each group that belongs together."""
