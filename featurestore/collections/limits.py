"""How many bytes an image may have, whatever it is read from."""

# The size of the largest image that is decoded, uncompressed.
MAX_BYTES = 1 << 29
