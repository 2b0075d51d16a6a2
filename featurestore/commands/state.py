"""Commands for snapshots, views, lineage and maintenance of a store."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurestore.commands.options import (
    PATH,
    json_option,
    snapshot_option,
    store_option,
    wait_option,
)
from featurestore.commands.texts import lineage_text
from featurestore.progress import ConsoleProgress

if TYPE_CHECKING:
    from featurestore import FeatureStore


@click.command()
@store_option
@snapshot_option
@click.argument("img_id", type=int)
@json_option
def lineage(store: str, snapshot: str | None, img_id: int, as_json: bool) -> None:
    """Show where each vector of the image IMG_ID came from."""
    from featurestore import FeatureStore

    with FeatureStore.open(store, snapshot=snapshot) as opened:
        record = opened.lineage(img_id)
    click.echo(json.dumps(record) if as_json else lineage_text(record))


@click.group()
def snapshot() -> None:
    """Create, list, compare and remove snapshots: named states of the store that never change."""


@snapshot.command("create")
@store_option
@click.argument("name")
@wait_option
@json_option
def snapshot_create(store: str, name: str, wait_seconds: float, as_json: bool) -> None:
    """Save the current state as the snapshot NAME."""
    from featurestore import FeatureStore

    info = FeatureStore(store).create_snapshot(name, wait_seconds=wait_seconds)
    click.echo(json.dumps(asdict(info), default=str) if as_json else f"snapshot {info.name}: state {info.state_id}")


@snapshot.command("list")
@store_option
@json_option
def snapshot_list(store: str, as_json: bool) -> None:
    """List the snapshots, oldest first."""
    from featurestore import FeatureStore

    found = FeatureStore.open(store).snapshots()
    if as_json:
        click.echo(json.dumps([asdict(info) for info in found], default=str))
        return
    for info in found:
        click.echo(f"{info.name:<24}{info.state_id:<24}{info.created_at:%Y-%m-%d %H:%M:%S} UTC")
    if not found:
        click.echo("no snapshot yet: featurestore snapshot create NAME")


@snapshot.command("diff")
@store_option
@click.argument("first")
@click.argument("second", required=False)
@json_option
def snapshot_diff(store: str, first: str, second: str | None, as_json: bool) -> None:
    """Show what changed from snapshot FIRST to SECOND, or to the current state."""
    from featurestore import FeatureStore

    changes = FeatureStore.open(store).diff_snapshots(first, second)
    if as_json:
        click.echo(json.dumps({table: asdict(change) for table, change in changes.items()}))
        return
    click.echo(f"{'':<32}{'added':>10}{'removed':>10}{'changed':>10}")
    for table, change in changes.items():
        click.echo(f"{table:<32}{change.added:>10,}{change.removed:>10,}{change.changed:>10,}")


@snapshot.command("remove")
@store_option
@click.argument("name")
@wait_option
def snapshot_remove(store: str, name: str, wait_seconds: float) -> None:
    """Remove the snapshot NAME; `gc` then deletes the files that only it referred to."""
    from featurestore import FeatureStore

    FeatureStore(store).remove_snapshot(name, wait_seconds=wait_seconds)
    click.echo(f"snapshot {name} removed")


@click.group()
def view() -> None:
    """Create, list and remove your own feature views: other labels, other filters."""


@view.command("create")
@store_option
@click.argument("name")
@click.option("--sql", type=PATH, required=True, help="A file with one SELECT that yields ImgId; - for stdin.")
@click.option("--replace", is_flag=True, help="Replace the view of that name.")
@wait_option
@json_option
def view_create(store: str, name: str, sql: Path, replace: bool, wait_seconds: float, as_json: bool) -> None:
    """Create the view NAME from a SELECT over the store's views."""
    from featurestore import FeatureStore
    from featurestore.errors import InputError
    from featurestore.files import MEGABYTE, read_file, why

    try:
        query = sys.stdin.read() if str(sql) == "-" else read_file(sql, limit=MEGABYTE, pipes=True).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{str(sql)!r} can't be read as SQL ({why(error)}): name a text file with one SELECT"
        ) from error
    opened = FeatureStore(store)
    rows = opened.create_view(name, query, replace=replace, wait_seconds=wait_seconds)
    missing = _unlabelled(opened, name)
    if as_json:
        click.echo(json.dumps({"name": name, "rows": rows, "unlabelled": missing}))
        return
    click.echo(f"view {name}: {rows:,} rows" + (f", {missing:,} of them without a label" if missing else ""))


def _unlabelled(store: "FeatureStore", view: str) -> int | None:
    """How many rows of ``view`` have no label of the collection; None if it lacks the label's column."""
    from featurestore import has_label, quote_name

    if store.label not in store.columns(view):
        return None
    column = store.query(f"SELECT {quote_name(store.label)} AS label FROM {quote_name(view)}")["label"]
    return sum(not has_label(value) for value in column.to_pylist())


@view.command("list")
@store_option
@json_option
def view_list(store: str, as_json: bool) -> None:
    """List your views with their SQL, and why a view can't be used."""
    from featurestore import FeatureStore

    with FeatureStore.open(store) as opened:
        found = opened.views()
        if as_json:
            click.echo(json.dumps(found))
            return
        failing = opened.failing_views
    for name, query in found.items():
        click.echo(f"{name}: {' '.join(query.split())}")
        if name in failing:
            click.echo(f"  fails: {failing[name]}")
    if not found:
        click.echo("you have no views yet: featurestore view create NAME --sql FILE")


@view.command("remove")
@store_option
@click.argument("name")
@wait_option
def view_remove(store: str, name: str, wait_seconds: float) -> None:
    """Remove one of your views."""
    from featurestore import FeatureStore

    FeatureStore(store).remove_view(name, wait_seconds=wait_seconds)
    click.echo(f"view {name} removed")


@click.command()
@store_option
@click.option(
    "--older-than", metavar="AGE", default="1d", show_default=True, help="Keep younger files: 90s, 30m, 12h, 1d or 0."
)
@click.option("--dry-run", is_flag=True, help="Only show what would be removed.")
@wait_option
@json_option
def gc(store: str, older_than: str, dry_run: bool, wait_seconds: float, as_json: bool) -> None:
    """Remove files that neither the current state nor a snapshot refers to, and rewrite store.duckdb."""
    from featurestore import FeatureStore

    report = FeatureStore(store).gc(older_than=older_than, dry_run=dry_run, wait_seconds=wait_seconds)
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    for path in report.removed:
        click.echo(f"{'would remove' if dry_run else 'removed'} {path}")
    click.echo(
        f"{len(report.removed):,} files, {report.removed_bytes / 1e6:,.1f} MB {'to remove' if dry_run else 'removed'}; "
        f"{report.disk_bytes / 1e6:,.1f} MB on disk, {report.referenced_bytes / 1e6:,.1f} MB referred to"
    )


@click.command()
@store_option
@json_option
def verify(store: str, as_json: bool) -> None:
    """Verify every record and part, including those of snapshots, and list the damaged ones."""
    from featurestore import FeatureStore

    with ConsoleProgress("verify", "parts") as progress:
        report = FeatureStore.open(store).verify(on_progress=progress)
    if as_json:
        click.echo(json.dumps(asdict(report)))
    else:
        for reason in report.damaged.values():
            click.echo(f"damaged: {reason}")
        sizes = f"{report.parts:,} parts, {report.records:,} records, {report.size_bytes / 1e6:,.1f} MB"
        click.echo(f"{sizes}, {len(report.damaged)} damaged")
        if report.damaged:
            click.echo("without a copy: `featurestore repair` removes what `embed` and `ingest` can recreate")
    if report.damaged:
        raise click.exceptions.Exit(1)


@click.command()
@store_option
@click.option("--from-snapshot", metavar="NAME", help="First replace a damaged state.json by this snapshot's state.")
@wait_option
@json_option
def repair(store: str, from_snapshot: str | None, wait_seconds: float, as_json: bool) -> None:
    """Remove damaged parts that `embed` or `ingest` can recreate; list what only a copy can restore."""
    from featurestore import FeatureStore

    with ConsoleProgress("repair", "parts") as progress:
        report = FeatureStore(store).repair(
            from_snapshot=from_snapshot, wait_seconds=wait_seconds, on_progress=progress
        )
    if as_json:
        click.echo(json.dumps(asdict(report)))
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


@click.command()
@store_option
@wait_option
@json_option
def compact(store: str, wait_seconds: float, as_json: bool) -> None:
    """Merge small parts; `gc` then deletes the old ones."""
    from featurestore import FeatureStore

    with ConsoleProgress("compact", "groups") as progress:
        report = FeatureStore(store).compact(wait_seconds=wait_seconds, on_progress=progress)
    if as_json:
        click.echo(json.dumps(report))
        return
    for table, (before, after) in report.items():
        click.echo(f"{table}: {before:,} parts became {after:,}")
    if not report:
        click.echo("nothing to merge")
