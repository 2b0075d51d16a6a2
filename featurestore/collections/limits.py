"""How large an image may be, whatever it is read from."""

MAX_PIXELS = 64_000_000
# Twice the size of the largest image within that limit, uncompressed at 64 bits per pixel.
MAX_BYTES = 1 << 30
