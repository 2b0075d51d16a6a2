"""Finds the number of images of a forward pass on a device whose memory is limited; it knows no engine."""

from collections.abc import Callable

from featurestore.errors import BackboneError

# Images of the first attempt: more hardly makes a GPU faster.
LARGEST_PASS = 256


def largest_pass(
    attempt: Callable[[int], object],
    *,
    out_of_memory: type[Exception] | tuple[type[Exception], ...],
    first: int = LARGEST_PASS,
) -> int:
    """The largest of ``first``, its half, its quarter, … for which a forward pass fits into memory.

    Use the result as the ``pass_size`` of a spec: each pass of a run then has one shape.

    Parameters
    ----------
    attempt
        Runs a forward pass of so many images, and frees what it took when it fails.
    out_of_memory
        The errors by which the engine says that memory is exhausted; others are not caught.

    Raises
    ------
    BackboneError
        When one image does not fit.
    """
    size = first
    while True:
        try:
            attempt(size)
        except out_of_memory as error:
            if size == 1:
                raise BackboneError(
                    "one image does not fit into the memory of the device: use a smaller model, a smaller input, or "
                    "the CPU"
                ) from error
            size = max(1, size // 2)
            continue
        return size
