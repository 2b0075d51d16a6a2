"""The study's movie posters: reading the metadata file, generating a synthetic sample, downloading the real data."""
