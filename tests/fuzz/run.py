"""`make fuzz`: each target for a while, coverage-guided by atheris, in a process of its own; prints one table.

    python tests/fuzz/run.py [--seconds N] [--only TARGET ...] [--out DIR]

A crash input is kept in the folder of its target; a small one belongs in `tests/fuzz/seeds` with its fix.
"""

import argparse
import hashlib
import os
import re
import resource
import subprocess
import sys
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The packages before the tests: folders of tests have their names.
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
SEEDS = ROOT / "tests" / "fuzz" / "seeds"
TARGETS = ("metadata", "vectors", "tables", "sql", "queries", "views", "records")
MEMORY_MB = 6000
# What allocates more than this gets a MemoryError, as on a small machine: records claim sizes.
RECORDS_MB = 4000


def main() -> int:
    """Fuzz; the exit code is 1 when anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3600, help="of each target (default 3600)")
    parser.add_argument("--only", action="append", choices=TARGETS, metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--out", type=Path, default=ROOT / "data" / "fuzz", help="corpora, logs and crash inputs")
    parser.add_argument("--child", choices=TARGETS, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _child(options.child, options.seconds, options.corpus)
        return 0
    print(f"{'target':<10}{'seconds':>9}{'executions':>12}{'a second':>10}  found")
    rows = [_fuzz(name, options.seconds, options.out.resolve()) for name in options.only or TARGETS]
    return int(any(rows))


def _fuzz(name: str, seconds: int, out: Path) -> int:
    """Fuzz one target and print its row; the number of crash inputs."""
    corpus = out / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    before = set((out / name).glob("crash-*"))
    started = time.monotonic()
    command = [sys.executable, __file__, "--child", name, "--seconds", str(seconds), "--corpus", str(corpus)]
    with (out / name / "log.txt").open("wb") as log:
        code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, cwd=out / name).returncode
    spent = time.monotonic() - started
    text = (out / name / "log.txt").read_text("utf-8", "replace")
    counts = [int(found) for found in re.findall(r"^(?:#|Done )(\d+)", text, re.MULTILINE)]
    new = sorted(path for kind in ("crash", "timeout", "oom") for path in (out / name).glob(f"{kind}-*"))
    new = [path for path in new if path not in before]
    found = ", ".join(path.name for path in new) or ("nothing" if code == 0 else f"exit code {code}, see log.txt")
    total = max(counts, default=0)
    print(f"{name:<10}{spent:>9.0f}{total:>12,}{total / spent:>10.0f}  {found}", flush=True)
    return len(new) + (code != 0)


def _child(name: str, seconds: int, corpus: Path) -> None:
    """Be the process that is fuzzed."""
    import atheris

    with atheris.instrument_imports(include=["featurestore", "fuzz"]):
        from fuzz import seeds, targets
    kept = corpus.parent / "seeds"
    seeds.write(name, kept)
    if name == "records":
        resource.setrlimit(resource.RLIMIT_DATA, (RECORDS_MB << 20, RECORDS_MB << 20))
    function = targets.BYTES.get(name) or targets.STRUCTURED[name].hypothesis.fuzz_one_input  # type: ignore[attr-defined]

    def keep(data: bytes) -> None:
        try:
            function(data)
        except BaseException:
            # At once: the end of the interpreter may take longer than libFuzzer's alarm allows.
            (corpus.parent / f"crash-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)
            traceback.print_exc()
            os._exit(77)

    arguments = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MEMORY_MB}",
        "-timeout=120",
        "-max_len=65536",
        "-len_control=0",
    ]
    atheris.Setup([sys.argv[0], *arguments, f"-artifact_prefix={corpus.parent}/", str(corpus), str(kept)], keep)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
