"""While images are decoded: nothing is printed, memory is bounded, and the process is afterwards as it was."""

import io
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from image_files import encoded, picture
from PIL import Image

from featurestore.backbones.preprocessing import Preprocessing
from featurestore.collections import memory
from featurestore.collections.images import decode, inspect
from featurestore.collections.memory import MEMORY, room
from featurestore.errors import ImageError
from featurestore.quiet import quiet

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")


def _torn_exif() -> bytes:
    """A JPEG of whose EXIF Pillow warns."""
    return encoded(picture(1), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\xff\0\0\0\xff\0\0\0")


def test_pillow_warns_of_this_file() -> None:
    with pytest.warns(UserWarning, match="Tag data larger than file|Corrupt EXIF data"):
        Image.open(io.BytesIO(_torn_exif())).getexif()


def test_warnings_are_ignored_in_all_threads_and_the_filters_restored() -> None:
    content, before = _torn_exif(), list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:  # a warning is an error here
        list(pool.map(inspect, [content] * 200))
    assert list(warnings.filters) == before


def test_the_first_to_leave_does_not_restore_the_filters() -> None:
    with quiet():
        inspect(_torn_exif())
        Image.open(io.BytesIO(_torn_exif())).getexif()


def test_warnings_of_others_are_not_ignored() -> None:
    with quiet(), pytest.raises(UserWarning, match="of mine"):
        warnings.warn("of mine", UserWarning, stacklevel=1)


def test_libtiff_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        content = bytearray(encoded(picture(2), "TIFF", compression=compression))
        content[40:240] = b"\xff" * 200
        try:
            inspect(bytes(content))
        except ImageError:
            continue  # not every damage is an error, but each was printed
    assert capfd.readouterr().err == ""


def test_memory_is_shared() -> None:
    """The third thread waits until the first two have left enough."""
    entered, leave = threading.Semaphore(0), threading.Event()

    def take() -> None:
        with room(MEMORY // 2):
            entered.release()
            leave.wait(10)

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert entered.acquire(timeout=10)
    assert entered.acquire(timeout=10)
    assert not entered.acquire(timeout=0.1)
    leave.set()
    assert entered.acquire(timeout=10)
    for thread in threads:
        thread.join(10)
    assert memory._taken == [0, 0]


def test_more_than_all_waits_for_all() -> None:
    with room(10 * MEMORY):
        assert memory._taken == [MEMORY, 0]
    assert memory._taken == [0, 0]


def test_an_error_gives_memory_back() -> None:
    with pytest.raises(ImageError):
        inspect(encoded(picture(1), "PNG")[:-60])
    assert memory._taken == [0, 0]


@needs_fork
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_waits_for_no_thread_of_its_parent() -> None:
    content = encoded(picture(1), "PNG")
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with quiet(), room(MEMORY):
            entered.set()
            leave.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert entered.wait(10)
    child = os.fork()
    if not child:
        decode(content, Preprocessing(8, 8))
        os._exit(0 if memory._taken == [0, 0] else 1)
    leave.set()
    holder.join()
    for _ in range(1000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        threading.Event().wait(0.01)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child waits for a thread that it does not have")
    assert os.waitstatus_to_exitcode(status) == 0
