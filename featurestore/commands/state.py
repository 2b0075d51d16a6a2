"""Commands for snapshots, views and lineage."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featurestore.commands.options import (
    PATH,
    example,
    json_option,
    print_json,
    say_next,
    snapshot_option,
    store_option,
    wait_option,
)
from featurestore.commands.sql import read_sql
from featurestore.commands.texts import lineage_text

if TYPE_CHECKING:
    from featurestore import FeatureStore


@click.command(epilog=example("featurestore lineage 10101"))
@store_option
@snapshot_option
@click.argument("img_id", type=int)
@json_option
def lineage(store: str, snapshot: str | None, img_id: int, as_json: bool) -> None:
    """Show where the vectors of an image came from.

    IMG_ID is the ImgId of the image. It shows the checksum of its file and, for each embedding, the weights, the
    preprocessing, the libraries, the machine and the time.
    """
    from featurestore import FeatureStore

    with FeatureStore.open(store, snapshot=snapshot) as opened:
        record = opened.lineage(img_id)
    if as_json:
        print_json(record)
        return
    click.echo(lineage_text(record))


@click.group(epilog=example("featurestore snapshot create before", "featurestore snapshot diff before"))
def snapshot() -> None:
    """Keep, list, compare and remove named states.

    A snapshot keeps the store as it is now, under a name; only `forget` changes it. It takes no room until the store
    changes.
    """


@snapshot.command("create", epilog=example("featurestore snapshot create before"))
@store_option
@click.argument("name")
@wait_option
@json_option
def snapshot_create(store: str, name: str, wait_seconds: float, as_json: bool) -> None:
    """Keep the store as it is now as NAME."""
    from featurestore import FeatureStore

    info = FeatureStore(store).create_snapshot(name, wait_seconds=wait_seconds)
    if as_json:
        print_json(asdict(info))
        return
    click.echo(f"snapshot {info.name}: state {info.state_id}")
    say_next(f"featurestore info --snapshot {info.name}", store=store)


@snapshot.command("list", epilog=example("featurestore snapshot list"))
@store_option
@json_option
def snapshot_list(store: str, as_json: bool) -> None:
    """List the snapshots, oldest first."""
    from featurestore import FeatureStore

    found = FeatureStore.open(store).snapshots()
    if as_json:
        print_json([asdict(info) for info in found])
        return
    for info in found:
        changed = f"  changed by `forget` {info.forgotten_at:%Y-%m-%d %H:%M:%S} UTC" if info.forgotten_at else ""
        click.echo(f"{info.name:<24}{info.state_id:<24}{info.created_at:%Y-%m-%d %H:%M:%S} UTC{changed}")
    if not found:
        click.echo("no snapshot yet: featurestore snapshot create NAME")


@snapshot.command(
    "diff", epilog=example("featurestore snapshot diff before", "featurestore snapshot diff before after")
)
@store_option
@click.argument("first")
@click.argument("second", required=False)
@json_option
def snapshot_diff(store: str, first: str, second: str | None, as_json: bool) -> None:
    """Count the rows that changed between two snapshots.

    The changes are those from the snapshot FIRST to the snapshot SECOND; without SECOND, to the store as it is now.
    """
    from featurestore import FeatureStore

    changes = FeatureStore.open(store).diff_snapshots(first, second)
    if as_json:
        print_json({table: asdict(change) for table, change in changes.items()})
        return
    click.echo(f"{'':<32}{'added':>10}{'removed':>10}{'changed':>10}")
    for table, change in changes.items():
        click.echo(f"{table:<32}{change.added:>10,}{change.removed:>10,}{change.changed:>10,}")


@snapshot.command("remove", epilog=example("featurestore snapshot remove before"))
@store_option
@click.argument("name")
@wait_option
def snapshot_remove(store: str, name: str, wait_seconds: float) -> None:
    """Remove the snapshot NAME.

    Files that only it needed stay until `featurestore gc` deletes them.
    """
    from featurestore import FeatureStore

    FeatureStore(store).remove_snapshot(name, wait_seconds=wait_seconds)
    click.echo(f"snapshot {name} removed")
    say_next("featurestore gc --dry-run", store=store)


@click.group(epilog=example("featurestore view create bands --sql bands.sql", "featurestore view list"))
def view() -> None:
    """Create, list and remove views of your own.

    A view is a named SELECT: other labels, other images. Queries, exports and `benchmarks run --view NAME` take it.
    """


@view.command(
    "create",
    epilog=example(
        "featurestore view create bands --sql bands.sql",
        'echo "SELECT ImgId, Genre1 FROM labeled WHERE IMDBScore > 7" | featurestore view create good --sql -',
    ),
)
@store_option
@click.argument("name")
@click.option(
    "--sql", type=PATH, required=True, help="A file with one SELECT that has a column ImgId, or - for standard input."
)
@click.option("--replace", is_flag=True, help="Replace the view if it exists.")
@wait_option
@json_option
def view_create(store: str, name: str, sql: Path, replace: bool, wait_seconds: float, as_json: bool) -> None:
    """Create the view NAME from a SELECT."""
    from featurestore import FeatureStore

    opened = FeatureStore(store)
    rows = opened.create_view(name, read_sql(sql), replace=replace, wait_seconds=wait_seconds)
    missing = _unlabelled(opened, name)
    if as_json:
        print_json({"name": name, "rows": rows, "unlabelled": missing})
        return
    click.echo(f"view {name}: {rows:,} rows" + (f", {missing:,} of them without a label" if missing else ""))
    say_next(f"featurestore sql 'FROM {name}'", store=store)


def _unlabelled(store: "FeatureStore", view: str) -> int | None:
    """How many rows of ``view`` have no label of the collection; None if it lacks the label's column."""
    from featurestore import has_label, quote_name

    if store.label not in store.columns(view):
        return None
    column = store.query(f"SELECT {quote_name(store.label)} AS label FROM {quote_name(view)}")["label"]
    return sum(not has_label(value) for value in column.to_pylist())


@view.command("list", epilog=example("featurestore view list"))
@store_option
@json_option
def view_list(store: str, as_json: bool) -> None:
    """List your views with their SQL.

    Where a view can't be used any more, the reason stands below it.
    """
    from featurestore import FeatureStore

    with FeatureStore.open(store) as opened:
        found = opened.views()
        if as_json:
            print_json(found)
            return
        failing = opened.failing_views
    for name, query in found.items():
        click.echo(f"{name}: {' '.join(query.split())}")
        if name in failing:
            click.echo(f"  fails: {failing[name]}")
    if not found:
        click.echo("you have no views yet: featurestore view create NAME --sql FILE")


@view.command("remove", epilog=example("featurestore view remove bands"))
@store_option
@click.argument("name")
@wait_option
def view_remove(store: str, name: str, wait_seconds: float) -> None:
    """Remove your view NAME."""
    from featurestore import FeatureStore

    FeatureStore(store).remove_view(name, wait_seconds=wait_seconds)
    click.echo(f"view {name} removed")
