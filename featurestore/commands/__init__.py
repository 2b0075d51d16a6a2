"""The commands of `featurestore`, one module for each group of related commands."""
