"""Starting: what an import and a help page cost over an empty program."""

import sys
from pathlib import Path

from perf.context import Context
from perf.measure import Contender, race
from perf.table import Goal, Row, row

# NumPy, Arrow and DuckDB come with the first use: shown, so that nobody takes the import for the whole cost.
LAZY = ("import, and what open() needs",)


def run(context: Context) -> list[Row]:
    """Each command and the empty one, in turns."""
    script = "import sys; from {0}.cli import main; sys.argv = ['{0}', '--help']; sys.exit(main())"
    commands = {
        "nothing": [sys.executable, "-c", "pass"],
        "import featurestore": [sys.executable, "-c", "import featurestore"],
        "import, and what open() needs": [sys.executable, "-c", "import featurestore; featurestore.open"],
        "featurestore --help": _installed("featurestore") or [sys.executable, "-c", script.format("featurestore")],
        "benchmarks --help": _installed("benchmarks") or [sys.executable, "-c", script.format("benchmarks")],
    }
    contenders = [Contender(name, "ours.py:command", {"argv": argv}) for name, argv in commands.items()]
    runs = race(contenders, context.size(15, 3))
    return [
        row(
            "start",
            name,
            ours=runs[name],
            other="python -c pass",
            theirs=runs["nothing"],
            goal=None if name in LAZY else Goal(0.25, "s over"),
            kind="scale" if name in LAZY else "limit",
        )
        for name in list(commands)[1:]
    ]


def _installed(name: str) -> list[str] | None:
    path = Path(sys.executable).with_name(name)
    return [str(path), "--help"] if path.is_file() else None
