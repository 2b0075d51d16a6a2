"""The folder of one shard: its lock, and what earlier runs left in it; it computes nothing."""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from featurestore.arrow import one_chunk
from featurestore.embedding.plan import EmbedPlan, pairs, read_keys
from featurestore.embedding.receipt import PARTS, Receipt, receipts_in
from featurestore.embedding.staging import Run
from featurestore.errors import InputError, IntegrityError, StoreError, StoreLocked
from featurestore.files import make_folder, why
from featurestore.storage.lock import holder, locked
from featurestore.storage.names import IDENTIFIER, inside
from featurestore.storage.parts import Part, check_part

# The folder of one shard: backbone, revision and share, or a hash of the content hashes that were named.
SHARD_FOLDER = re.compile(rf"{IDENTIFIER}-[0-9a-f]{{16}}-([0-9]+-of-[0-9]+|[0-9a-f]{{16}})")


@contextmanager
def shard_folder(out: Path, name: str, *, wait_seconds: float) -> Iterator[Path]:
    """Create and lock the folder ``name`` in ``out``, which may hold other shards.

    Raises
    ------
    InputError
        When ``out`` is no folder, or holds other files.
    StoreLocked
        When another process is computing the same shard there, and did not finish in time.
    StoreError
        In place of an OSError in the block.
    """
    _check_room(out)
    folder = out / name
    with _writing(out), ExitStack() as stack:
        make_folder(folder)
        make_folder(inside(out, folder / PARTS))
        try:
            stack.enter_context(locked(folder, wait_seconds=wait_seconds, purpose=f"embed {name}"))
        except StoreLocked:
            raise StoreLocked(
                f"the shard in {str(folder)!r} is being computed by {holder(folder)}: try again when it has finished, "
                "use --wait, or name another folder with --out"
            ) from None
        except StoreError as error:
            raise (error.__cause__ or error) from None  # an OSError, whose sentence is that of this folder
        yield folder


def _check_room(out: Path) -> None:
    """Refuse a folder that holds anything but shards.

    Raises
    ------
    InputError
        When ``out`` is no folder, can't be read, or holds other files.
    """
    if not out.exists():
        return
    try:
        strangers = sorted(entry.name for entry in out.iterdir() if not SHARD_FOLDER.fullmatch(entry.name))
    except OSError as error:
        raise InputError(f"{str(out)!r} can't be read ({why(error)}): name an empty folder with --out") from error
    if strangers:
        raise InputError(
            f"{str(out)!r} holds other files than shards ({', '.join(strangers[:3])}): name an empty folder with --out"
        )


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # the reader of our output has ended: not an error of the folder
        raise
    except OSError as error:
        raise StoreError(
            f"{str(out)!r} can't be written ({why(error)}): what was computed is kept; free space or make the folder "
            "writable, and run the command again"
        ) from error


@dataclass(frozen=True)
class EarlierShard:
    """What earlier runs of the same shard left in its folder.

    Parameters
    ----------
    files, receipts
        The receipts, and their files.
    parts, pairs
        The undamaged parts that they list, and the key of each row in these.
    whole
        Whether there is one receipt, and all its parts are undamaged.
    """

    files: Sequence[Path]
    receipts: Sequence[Receipt]
    parts: Sequence[Part]
    pairs: pa.Array
    whole: bool

    @classmethod
    def of(cls, run: Run, plan: EmbedPlan) -> "EarlierShard":
        """Read them; parts that are damaged, or that no receipt lists, are removed."""
        found = receipts_in(run.folder)
        if any(receipt.store != plan.state.store for receipt in found.values()):
            raise InputError(f"{str(run.folder)!r} holds a shard of another store: name another folder with --out")
        listed = {part.path: part for receipt in found.values() for part in receipt.parts}
        kept = []
        for path in run.folder.glob(".*.tmp"):  # of a run that was killed
            path.unlink()
        for path in sorted((run.folder / PARTS).glob("*")):
            part = listed.get(path.name)
            try:
                if part is None:
                    raise IntegrityError("no receipt lists it")
                check_part(part, path.parent)
                kept.append(part)
            except IntegrityError:
                path.unlink()
        there = one_chunk(pairs(read_keys([run.folder / PARTS / part.path for part in kept])))
        return cls(list(found), list(found.values()), kept, there, len(found) == 1 and len(kept) == len(listed))
