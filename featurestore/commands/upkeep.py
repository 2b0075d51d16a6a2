"""Commands that maintain a store: `verify`, `repair`, `compact` and `gc`."""

from dataclasses import asdict

import click

from featurestore.commands.options import example, json_option, print_json, say_next, store_option, wait_option
from featurestore.progress import ConsoleProgress


@click.command(epilog=example("featurestore gc --dry-run", "featurestore gc --older-than 12h"))
@store_option
@click.option(
    "--older-than",
    metavar="AGE",
    default="1d",
    show_default=True,
    help="Keep files younger than this, which another process may need: 90s, 30m, 12h, 1d, or 0 for none.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@wait_option
@json_option
def gc(store: str, older_than: str, dry_run: bool, wait_seconds: float, as_json: bool) -> None:
    """Delete files that the store no longer needs.

    These are files of earlier states that no snapshot refers to. The file store.duckdb is written anew.
    """
    from featurestore import FeatureStore

    report = FeatureStore(store).gc(older_than=older_than, dry_run=dry_run, wait_seconds=wait_seconds)
    if as_json:
        print_json(asdict(report))
        return
    for path in report.removed:
        click.echo(f"{'would remove' if dry_run else 'removed'} {path}")
    click.echo(
        f"{len(report.removed):,} files, {report.removed_bytes / 1e6:,.1f} MB {'to remove' if dry_run else 'removed'}; "
        f"{report.disk_bytes / 1e6:,.1f} MB on disk, {report.referenced_bytes / 1e6:,.1f} MB referred to"
    )


@click.command(epilog=example("featurestore verify"))
@store_option
@json_option
def verify(store: str, as_json: bool) -> None:
    """Check all files by their checksums.

    The files of snapshots are checked too. Damaged files are listed, and the exit code is then 1.
    """
    from featurestore import FeatureStore

    with ConsoleProgress("verify", "parts") as progress:
        report = FeatureStore.open(store).verify(on_progress=progress)
    if as_json:
        print_json(asdict(report))
    else:
        for reason in report.damaged.values():
            click.echo(f"damaged: {reason}")
        sizes = f"{report.parts:,} parts, {report.records:,} records, {report.size_bytes / 1e6:,.1f} MB"
        click.echo(f"{sizes}, {len(report.damaged)} damaged")
        if report.damaged:
            click.echo(
                "restore these files from a copy; without one, `featurestore repair` removes what can be made anew"
            )
    if report.damaged:
        raise click.exceptions.Exit(1)


@click.command(epilog=example("featurestore repair", "featurestore repair --from-snapshot before"))
@store_option
@click.option("--from-snapshot", metavar="NAME", help="If state.json itself is damaged: start from this snapshot.")
@wait_option
@json_option
def repair(store: str, from_snapshot: str | None, wait_seconds: float, as_json: bool) -> None:
    """Remove damaged files that can be made anew.

    It says which command makes them anew, `embed` or `ingest`, and names what only a copy can restore.
    """
    from featurestore import FeatureStore

    with ConsoleProgress("repair", "parts") as progress:
        report = FeatureStore(store).repair(
            from_snapshot=from_snapshot, wait_seconds=wait_seconds, on_progress=progress
        )
    if as_json:
        print_json(asdict(report))
    else:
        for backbone, count in report.vectors.items():
            click.echo(f"{count:,} vectors of {backbone} removed: run `featurestore embed`, or import them again")
        for table, count in report.rows.items():
            known = ", and import again those without a file" if table == "images" else ""
            click.echo(f"{count:,} rows of {table} removed: run `featurestore ingest`{known}")
        for name, count in report.rebuilt.items():
            then = ": run `featurestore ingest`" if name == "images" else ", their manifest was rebuilt"
            click.echo(f"{count:,} rows of {name} recovered{then}")
        for reason in report.left.values():
            click.echo(f"still damaged: {reason}")
        if not (report.vectors or report.rows or report.rebuilt or report.left):
            click.echo("nothing is damaged")
    if report.left:
        raise click.exceptions.Exit(1)


@click.command(epilog=example("featurestore compact"))
@store_option
@wait_option
@json_option
def compact(store: str, wait_seconds: float, as_json: bool) -> None:
    """Merge small files into larger ones.

    Many small commits leave many small Parquet files; larger ones are read faster. `featurestore gc` then deletes the
    small ones.
    """
    from featurestore import FeatureStore

    with ConsoleProgress("compact", "groups") as progress:
        report = FeatureStore(store).compact(wait_seconds=wait_seconds, on_progress=progress)
    if as_json:
        print_json(report)
        return
    for table, (before, after) in report.items():
        click.echo(f"{table}: {before:,} parts became {after:,}")
    if not report:
        click.echo("nothing to merge")
    else:
        say_next("featurestore gc --dry-run", store=store)
