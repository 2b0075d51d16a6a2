"""Shows both packages another operating system, as far as Linux can; Python runs this file at its start.

The variable `SIMULATED` is ``windows`` or ``macos``. Only code of the two packages sees it: the standard library and
other packages go on as ever, since they have their own ways there. What is shown: which modules and names are missing,
that ``/proc`` is, and on Windows that a folder can't be opened, that a file that is open can't be removed, replaced or
moved, that only a file open for writing can be synced, that links need a privilege, and names that no file can have.
"""

import builtins
import errno
import fcntl
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import types
from contextlib import suppress
from pathlib import Path

WINDOWS = os.environ.get("SIMULATED") == "windows"
PACKAGES = ("featurestore", "benchmarks")
HOME = str(Path(__file__).resolve().parents[3])
LIBRARY = os.path.dirname(os.__file__)
MISSING_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
# Names that Python's documentation marks as not available there.
ON_LINUX_ALONE = (
    r"sched_(get|set)(affinity|param|scheduler)|memfd_\w+|MFD_\w+|eventfd\w*|\w+xattr|posix_fadvise|POSIX_FADV\w+"
)
ON_UNIX_ALONE = (
    r"ctermid|(get|set)(e|re|res)?[ug]id|(get|set)groups|getgrouplist|initgroups|(get|set)pg\w+|(get|set)priority|PRIO_\w+"
    r"|(get|set)sid|setns|unshare|uname|l?chflags|f?chmod(?<!^chmod)|[fl]?chown|fdatasync|f?pathconf|f?statvfs|lockf|F_\w+"
    r"|openpty|login_tty|pipe2|posix_\w+|p(read|write)v?|sendfile|[gs]et_blocking|tc[gs]etpgrp|chroot|fchdir|mkfifo|mknod"
    r"|major|minor|makedev|sync|fork(pty)?|nice|killpg|register_at_fork|wait|waitid|wait[34]|W[A-Z]+|P_[A-Z]*(PID|PGID|ALL)\w*"
    r"|sched_\w+|SCHED_\w+|confstr\w*|getloadavg|sysconf\w*|getrandom|GRND_\w+|environb|getenvb|fwalk|copy_file_range|splice"
    r"|SPLICE_\w+|pidfd_\w+|O_(DSYNC|RSYNC|SYNC|NDELAY|NONBLOCK|NOCTTY|CLOEXEC|ASYNC|DIRECT|DIRECTORY|NOFOLLOW|NOATIME|PATH"
    r"|TMPFILE|LARGEFILE|EVTONLY|FSYNC|ACCMODE)|CLD_\w+|CLONE_\w+|RTLD_\w+|ST_[A-Z]+"
)
SIGNALS = r"SIG(ABRT|FPE|ILL|INT|SEGV|TERM|_DFL|_IGN)|[gs]et_?signal|signal|raise_signal|strsignal|valid_signals|NSIG"
NO_SIGNALS = (
    rf"(?!({SIGNALS}|CTRL_(C|BREAK)_EVENT|SIGBREAK|default_int_handler|set_wakeup_fd|Signals|Handlers|__\w+__)$).*"
)
NO_FILE = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$|^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)', re.IGNORECASE)


class Shown(types.ModuleType):
    """A module without the names that match ``missing``, and with others ``instead``."""

    def __init__(self, real: types.ModuleType, missing: str, instead: dict[str, object]) -> None:
        super().__init__(real.__name__)
        self.__dict__.update(_real=real, _missing=re.compile(missing), _instead=instead)

    def __getattr__(self, name: str) -> object:
        if self._missing.fullmatch(name):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} on the simulated system")
        return self._instead[name] if name in self._instead else getattr(self._real, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._real, name, value)


def _fsync(descriptor: int) -> None:
    if WINDOWS and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        raise OSError(errno.EBADF, "only a file that is open for writing can be synced")
    os.fsync(descriptor)


SHOWN = {
    "os": Shown(
        os,
        f"{ON_LINUX_ALONE}|{ON_UNIX_ALONE}" if WINDOWS else ON_LINUX_ALONE,
        {"name": "nt", "fsync": _fsync} if WINDOWS else {},
    ),
    "sys": Shown(sys, "(?!)", {"platform": "win32" if WINDOWS else "darwin"}),
    "signal": Shown(
        signal,
        NO_SIGNALS if WINDOWS else "sigtimedwait|sigwaitinfo|SIGCLD|SIGPOLL|SIGRT.*",
        {"CTRL_C_EVENT": signal.SIGINT, "CTRL_BREAK_EVENT": signal.SIGINT, "SIGBREAK": signal.SIGQUIT}
        if WINDOWS
        else {},
    ),
}
real_import, real_stat, real_start = builtins.__import__, Path.stat, subprocess.Popen.__init__


def _import(name, globals=None, locals=None, fromlist=(), level=0):  # type: ignore[no-untyped-def]
    top = name.partition(".")[0]
    ours = level == 0 and globals and str(globals.get("__package__") or globals.get("__name__")).startswith(PACKAGES)
    if ours and WINDOWS and top in MISSING_MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = real_import(name, globals, locals, fromlist, level)
    return SHOWN.get(name if fromlist else top, module) if ours else module


def _start(process: object, *arguments: object, creationflags: int = 0, **options: object) -> None:
    """`subprocess.Popen`, which takes no ``creationflags`` here."""
    real_start(process, *arguments, **options)  # type: ignore[arg-type]


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event in RULES and (caller := _caller()):
        RULES[event](caller, *arguments)


def _caller() -> str:
    """``direct`` if the packages make the call, ``library`` if the standard library does for them; else empty."""
    frame, how = sys._getframe(), "direct"
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(tuple(f"{HOME}/{name}/" for name in PACKAGES)):
            return how
        if not (file.startswith("<frozen") or (file.startswith(LIBRARY) and "site-packages" not in file)):
            return ""
        frame, how = frame.f_back, "library"
    return ""


def _open(caller: str, path: object, mode: object, flags: int) -> None:
    if not isinstance(path, str):
        return
    if path.startswith("/proc/"):
        raise _absent(path)
    if WINDOWS and caller == "direct" and os.path.isdir(path):
        raise PermissionError(errno.EACCES, "a folder can't be opened", path)
    if WINDOWS and flags & os.O_CREAT:
        _check_name(caller, path)


def _absent(path: object) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _stat(path: Path, **options: bool) -> os.stat_result:
    if str(path).startswith("/proc/") and _caller():
        raise _absent(path)
    return real_stat(path, **options)


def _check_name(caller: str, path: object, *_: object) -> None:
    if NO_FILE.search(os.path.basename(os.fspath(path))):  # type: ignore[call-overload]
        raise OSError(errno.EINVAL, "no file can have this name", path)


def _check_free(caller: str, path: object, folder: int = -1) -> None:
    """Refuse a path that this process or one that it started has open, or below which it has a file open."""
    place = os.path.join(os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else "", os.fspath(path))  # type: ignore
    whole = os.path.join(os.path.realpath(os.path.dirname(place)), os.path.basename(place))
    for name in _in_use():
        if name == whole or name.startswith(f"{whole}/"):
            raise PermissionError(errno.EACCES, "it is open", path)


def _in_use() -> set[str]:
    found = set()
    for process in ("self", *_children()):
        with suppress(OSError):  # it has ended
            found |= {line.split(maxsplit=5)[5] for line in _lines(f"/proc/{process}/maps") if "/" in line}
            for number in os.listdir(f"/proc/{process}/fd"):
                with suppress(OSError):
                    found.add(os.readlink(f"/proc/{process}/fd/{number}"))
    return {name for name in found if not os.path.isdir(name)}  # `rmtree` of Linux opens folders


def _children() -> list[str]:
    found = []
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError):
            found += " ".join(_lines(f"/proc/self/task/{task}/children")).split()
    return found


def _lines(path: str) -> list[str]:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read().splitlines()


def _rename(caller: str, source: object, target: object, *_: object) -> None:
    for path in (source, target):
        _check_free(caller, path)
        _check_name(caller, path)


def _link(caller: str, *_: object) -> None:
    raise OSError(errno.EPERM, "a link needs a privilege")


RULES = {"open": _open}
if WINDOWS:
    RULES |= {"os.remove": _check_free, "os.rename": _rename, "os.mkdir": _check_name, "os.symlink": _link}
    subprocess.Popen.__init__ = _start  # type: ignore[method-assign]
    multiprocessing.get_all_start_methods = lambda: ["spawn"]  # type: ignore[method-assign]
if "SIMULATED" in os.environ:
    builtins.__import__, Path.stat = _import, _stat  # type: ignore[assignment, method-assign]
    sys.addaudithook(_audit)
