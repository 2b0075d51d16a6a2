"""Receives the messages of one worker without ever waiting for it: a head may stop its process within a message."""

import os
import struct
import sys
from multiprocessing import connection

# Bytes that are read at once.
_BLOCK = 1 << 20
# A connection of `multiprocessing` sends the length of a message, then the message: as 4 bytes with a sign, or as -1
# and 8 bytes.
_SHORT, _LONG = struct.Struct("!i"), struct.Struct("!Q")
_IS_LONG = -1


class Inbox:
    """The end of a connection at which messages arrive.

    Parameters
    ----------
    pipe
        The connection, of which nothing else may read.
    largest
        Bytes of the largest message that is accepted.
    """

    def __init__(self, pipe: connection.Connection, largest: int) -> None:
        self.pipe = pipe
        self.largest = largest
        self._arrived = bytearray()

    @property
    def ready(self) -> bool:
        """Whether `take` has something to do without new bytes."""
        return self._message() is not None

    def take(self) -> bytes | None:
        """The next message, or None where it is not here yet.

        Raises
        ------
        EOFError, OSError
            When the connection has ended.
        ValueError
            When what comes is no message, or is too large.
        """
        if sys.platform == "win32":  # there a connection can only be read by messages
            return self.pipe.recv_bytes(self.largest) if self.pipe.poll() else None
        if self._message() is None and self.pipe.poll():
            arrived = os.read(self.pipe.fileno(), _BLOCK)  # of a socket: what is there
            if not arrived:
                raise EOFError
            self._arrived += arrived
        found = self._message()
        if found is None:
            return None
        message = bytes(self._arrived[found])
        del self._arrived[: found.stop]
        return message

    def _message(self) -> slice | None:
        """Where the next message is in what has arrived; None where it is not all here."""
        start = _SHORT.size
        if len(self._arrived) < start:
            return None
        (size,) = _SHORT.unpack_from(self._arrived)
        if size == _IS_LONG:
            start += _LONG.size
            if len(self._arrived) < start:
                return None
            (size,) = _LONG.unpack_from(self._arrived, _SHORT.size)
        if not 0 <= size <= self.largest:
            raise ValueError(f"a message of {size:,} bytes")
        return slice(start, start + size) if len(self._arrived) >= start + size else None
