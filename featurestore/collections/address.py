"""Where an image lies: a file, or a member of a file that holds many; reads its bytes from there."""

from dataclasses import dataclass
from pathlib import Path

from featurestore.collections.limits import MAX_BYTES
from featurestore.errors import ImageError
from featurestore.files import read_file


@dataclass(frozen=True)
class ImageAddress:
    """Where an image lies.

    Parameters
    ----------
    path
        The file.
    member
        Empty if the file is the image; else the name of a member or the number of a row in it.
    """

    path: Path
    member: str = ""

    @classmethod
    def of(cls, source: str, file: str, member: str = "") -> "ImageAddress":
        """The address from the columns ``source``, ``file`` and ``member`` of the table `images`."""
        return cls(Path(source, file), member)

    def __str__(self) -> str:
        return f"{self.path}#{self.member}" if self.member else str(self.path)

    def read(self, *, pipes: bool = False) -> bytes:
        """The bytes of the image; ``pipes`` tells whether the file may be a pipe.

        Raises
        ------
        ImageError
            When it can't be read.
        """
        if self.member:
            raise ImageError(f"{self} is not a file")
        try:
            return read_file(self.path, limit=MAX_BYTES, pipes=pipes)
        except OSError as error:
            raise ImageError(f"the file can't be read: {error.strerror}") from error
