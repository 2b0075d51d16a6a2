"""One contender in a process of its own: prepares itself, then runs and is timed each time it is told to.

It is started by `measure.py` with the product's Python or with that of the rivals, so it needs nothing but the standard
library. A contender is a function ``module.py:function`` of the folder ``contenders``: it is called with its options,
does what is not timed, and returns the callable that is. What that returns is the answer, a few numbers by which the
others' answers can be compared; a key ``seconds`` in a dict that it returns takes the place of the clock's.
"""

import importlib.util
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent / "contenders"


def find(name: str) -> Callable[[dict[str, Any]], Any]:
    """The function that ``module.py:function`` names."""
    path, _, function = name.partition(":")
    spec = importlib.util.spec_from_file_location(Path(path).stem, HERE / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function)


def memory_mb(field: str) -> float:
    """``VmRSS`` or ``VmHWM`` of this process in MB; 0 where the system does not tell."""
    try:
        found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    except OSError:
        return 0.0
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def forget_peak() -> None:
    """Let the peak of memory begin anew."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # not Linux: the growth then counts from the peak of the preparation


def measured(once: Callable[[], Any]) -> dict[str, Any]:
    """Run once: seconds and those of the processor, growth of memory and its peak with all before in MB, the answer."""
    forget_peak()
    before = memory_mb("VmRSS")
    start, worked = time.perf_counter(), time.process_time()
    answer = once()
    seconds, worked = time.perf_counter() - start, time.process_time() - worked
    peak = memory_mb("VmHWM")
    grown = max(0.0, peak - before)
    if callable(answer):  # what must stay alive until memory is measured, and costs time that is not counted
        answer = answer()
    if isinstance(answer, dict) and "seconds" in answer:
        seconds = answer.pop("seconds")
    return {"seconds": seconds, "cpu_seconds": worked, "memory_mb": grown, "peak_mb": peak, "answer": answer}


def touch(mb: int) -> None:
    """Take memory, write to all of it and give it back; see `measure.Contender`."""
    taken = b"\1" * (mb * 1_000_000)
    del taken


def main() -> None:
    """Prepare, say so, and run for each line on stdin; results leave as one line of JSON each."""
    # Libraries print what they like: their stdout becomes stderr.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(record: dict[str, Any]) -> None:
        print(json.dumps(record), file=out, flush=True)

    try:
        once = find(sys.argv[1])(json.loads(sys.argv[2]))
        touch(int(sys.argv[3]))
        times = int(sys.argv[4])
        say({"ready": True})
        for _ in sys.stdin:
            if callable(once):
                records = sorted((measured(once) for _ in range(times)), key=lambda record: record["seconds"])
                say(records[len(records) // 2])
            else:
                say({"answer": once})
    except Exception as error:  # the row says why a rival could not run; the others go on
        traceback.print_exc()
        say({"error": f"{type(error).__name__}: {str(error).strip().splitlines()[0][:160] if str(error) else ''}"})


if __name__ == "__main__":
    main()
