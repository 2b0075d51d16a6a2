"""The command `heads`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.commands.options import head_file_option
from featurestore.commands.options import example, json_option, print_json


@click.command(
    epilog=example("benchmarks heads", "benchmarks heads --head-file own_heads.py --head naive_bayes --check")
)
@head_file_option
@click.option("--check", is_flag=True, help="Also run the checks that every head must pass.")
@click.option("--head", "names", multiple=True, help="List this head alone; repeatable.  [default: all]")
@json_option
def heads(files: Sequence[Path], check: bool, names: Sequence[str], as_json: bool) -> None:
    """List the heads, or check your own.

    A head is a classifier that is trained on embeddings. With --check the exit code is 1 if a head fails.
    """
    from benchmarks.run.head_files import find_heads

    specs = find_heads(names, files=files)
    rows: list[dict[str, Any]] = [
        {"name": spec.name, "about": spec.about, "protocols": list(spec.sets)} for spec in specs
    ]
    if check:
        from benchmarks.run.head_files import checked

        for row, broken in zip(rows, checked(specs), strict=True):
            row["violations"] = broken
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            click.echo(f"{row['name']:<23} {row['about']}")
            for name, sentence in row.get("violations", {}).items():
                click.echo(f"{'':<24}{name}: {sentence}")
            if check and not row["violations"]:
                click.echo(f"{'':<24}passes all checks")
    if any(row.get("violations") for row in rows):
        raise click.exceptions.Exit(1)
