"""Imports every module of both packages, then runs the commands in a file, a line each, up to the first failure."""

import pkgutil
import shlex
import sys
from importlib import import_module
from pathlib import Path

import benchmarks
import featurestore
from benchmarks.commands.cli import cli as benchmarks_cli
from featurestore.commands.cli import cli as featurestore_cli
from featurestore.commands.options import run_command

COMMANDS = {"featurestore": featurestore_cli, "benchmarks": benchmarks_cli}


def main() -> None:
    """All imports, then all commands."""
    for package in (featurestore, benchmarks):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            import_module(module.name)
    for line in Path(sys.argv[1]).read_text("utf-8").splitlines():
        program, *arguments = shlex.split(line)
        sys.argv = [program, *arguments]
        if code := run_command(COMMANDS[program], program):
            sys.exit(f"{line}\nended with {code}")


if __name__ == "__main__":
    main()
