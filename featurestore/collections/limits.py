"""The limits on what is read from elsewhere, since a small file can claim or unpack to more than any memory."""

from featurestore.files import MEGABYTE

# Bytes of an image: the size of the largest one that is decoded, uncompressed; and of all that are read and not yet
# decoded, for all threads together.
MAX_BYTES, READ_BYTES = 1 << 29, 1 << 30
MAX_PIXELS = 64_000_000
# Bytes for all images that are decoded at once: what the largest takes (`MAX_PIXELS`, 10 bytes each while decoded).
MEMORY = 640_000_000
# Pixels times scans of a progressive JPEG, each of which is decoded whole from as little as a hundred bytes: the usual
# ten scans, and as many again, of the largest image.
MAX_SCANNED = 20 * MAX_PIXELS
# Icons are decoded as they are opened, before a size is known: the largest in use are 256 × 256.
MAX_ICON_PIXELS = 2 * 1024 * 1024

# Members of a container; bytes of all its columns that are not images, which are kept in memory; bytes of its JSON.
MAX_MEMBERS, COLUMN_BYTES, MAX_JSON = 5_000_000, 512 * MEGABYTE, 64 * MEGABYTE
# What decoded dictionaries and the like of an Arrow file may take beyond the file's own size.
SLACK_BYTES = 64 * MEGABYTE
# Small files beside an image in a tar: bytes of one, of all (Python's objects take many times as much), and columns.
MAX_SIDECAR, MAX_SIDECARS, MAX_SIDECAR_COLUMNS = MEGABYTE, 256 * MEGABYTE, 1000

# A metadata table, also after it was unpacked: bytes, rows, columns. Values of JSON are Python objects for a while.
MAX_TABLE_BYTES, MAX_ROWS, MAX_COLUMNS, MAX_JSON_VALUES = 1 << 30, 20_000_000, 10_000, 50_000_000
