"""Views that can't be learned from, that have a name that is taken, or that would lock everybody out of the store."""

from collections.abc import Sequence

import pyarrow as pa

from featurestore import FeatureStore
from torture.inputs import Accepted, Kind, Refused, Work

SELECT = "SELECT ImgId, Genre1 FROM collection"
BENCH = ("benchmarks", "run", "--head", "majority", "--folds", "2", "--quick")


def _create(
    name: str,
    query: str | bytes,
    expect: Accepted | Refused,
    *,
    view: str = "mine",
    before: Sequence[tuple[str, str]] = (),
    replace: bool = False,
) -> Kind:
    """A view of ``query``, after those of ``before``."""

    def make(work: Work) -> list[str]:
        _views(work, before)
        file = work.folder / "view.sql"
        file.write_bytes(query if isinstance(query, bytes) else query.encode())
        return ["featurestore", "view", "create", view, "--sql", str(file), *(["--replace"] if replace else [])]

    return Kind("views", name, make, expect)


def _views(work: Work, views: Sequence[tuple[str, str]]) -> None:
    from featurestore.catalog import views as own

    for name, query in views:
        own.create(work.store, name, query)


def _used(name: str, query: str, command: Sequence[str], expect: Accepted | Refused) -> Kind:
    """A command that is given a view of ``query``."""

    def make(work: Work) -> list[str]:
        _views(work, [("mine", query)])
        return [*command, "--view", "mine"]

    return Kind("views", name, make, expect)


def _created() -> list[Kind]:
    parse = Refused("the query failed")
    chain = [("one", SELECT), ("two", "SELECT ImgId, Genre1 FROM one")]
    return [
        _create("with a comment and a semicolon", f"{SELECT}; \n", Accepted("SELECT count(*) FROM mine", [(6,)])),
        _create("with a comment at the end", f"{SELECT} -- done", Accepted("SELECT count(*) FROM mine", [(6,)])),
        _create("without ImgId", "SELECT Title FROM collection", Refused("has no column ImgId")),
        _create("with imgid in small letters", "SELECT ImgId AS imgid FROM collection", Refused("has no column ImgId")),
        _create(
            "with ImgId twice",
            "SELECT ImgId FROM collection UNION ALL SELECT ImgId FROM collection",
            Refused("12 rows for 6 ids"),
        ),
        _create(
            "with an ImgId that is missing",
            "SELECT nullif(ImgId, 101) AS ImgId FROM collection",
            Refused("6 rows for 5 ids"),
        ),
        _create("with ImgId as text", "SELECT 'x' AS ImgId", Refused("gives ImgId as string")),
        _create("with ImgId as a fraction", "SELECT ImgId + 0.5 AS ImgId FROM collection", Refused("gives ImgId as")),
        _create("of no rows", f"{SELECT} WHERE false", Accepted("SELECT count(*) FROM mine", [(0,)])),
        _create(
            "of a file", "SELECT 1 AS ImgId FROM read_csv('/etc/passwd')", Refused("the table function 'read_csv'")
        ),
        _create("of a file by its name", "SELECT 1 AS ImgId FROM '/etc/passwd'", Refused("only the store's own views")),
        _create("of two statements", f"{SELECT}; DROP VIEW labeled", Refused("only SELECT|2 statements")),
        _create("of a statement that writes", "DELETE FROM movies", Refused("only SELECT")),
        _create("of nothing", "", Refused("0 statements")),
        _create("of a comment", "-- nothing", Refused("0 statements")),
        _create("of words", "the genre of each poster", parse),
        _create("of bytes that are no text", b"\xff\xfe\x00S", Refused("can't be read as SQL")),
        _create("of a column that is not there", "SELECT ImgId, nothing FROM collection", parse),
        _create("with parameters", f"{SELECT} WHERE ImgId = ?", Refused("the query failed|can't be replaced so")),
        _create(
            "nested 900 times",
            f"SELECT ImgId, {'+'.join('1' * 900)} AS n FROM collection",
            Refused("nested too deeply"),
        ),
        _create(
            "nested 5,000 times", f"SELECT {'(' * 5000}1{')' * 5000} AS ImgId", Refused("the query failed|too deeply")
        ),
        *(
            _create(f"named {name!r}", SELECT, Refused("got the view name"), view=name)
            for name in ("1st", "a-b", "A", "é", "a b", "", 'a"b', "x" * 65, "a;b", "../a")
        ),
        *(
            _create(f"named {name}, which the store has", SELECT, Refused(f"the name '{name}' can't be"), view=name)
            for name in ("labeled", "movies", "embeddings_counting", "labeled_counting")
        ),
        _create("named select", SELECT, Accepted('SELECT count(*) FROM "select"', [(6,)]), view="select"),
        _create("whose name is taken", SELECT, Refused("there is a view 'one' already"), view="one", before=chain),
        _create(
            "that depends on itself",
            "SELECT ImgId FROM one",
            Refused("can't be replaced so"),
            view="one",
            before=chain,
            replace=True,
        ),
        _create(
            "that depends on one that depends on it",
            "SELECT ImgId FROM two",
            Refused("can't be replaced so"),
            view="one",
            before=chain,
            replace=True,
        ),
        _create(
            "without a column that another needs",
            "SELECT ImgId FROM collection",
            Refused("can't be replaced so"),
            view="one",
            before=chain,
            replace=True,
        ),
        _create(
            "that replaces another",
            f"{SELECT} WHERE ImgId > 103",
            Accepted("SELECT count(*) FROM two", [(3,)]),
            view="one",
            before=chain,
            replace=True,
        ),
        Kind(
            "views",
            "a file that is not there",
            lambda work: ["featurestore", "view", "create", "mine", "--sql", str(work.folder / "none.sql")],
            Refused("can't be read as SQL"),
        ),
        Kind(
            "views",
            "removed though another depends on it",
            lambda work: (_views(work, chain), ["featurestore", "view", "remove", "one"])[1],
            Refused("can't be removed, another depends on it"),
        ),
        Kind(
            "views",
            "removed though there is none",
            lambda work: ["featurestore", "view", "remove", "none"],
            Refused("there is no view 'none'"),
        ),
    ]


def _meeting() -> list[Kind]:
    """Two views that come to one name, the second by way of a backbone or a table."""

    def backbone(work: Work) -> list[str]:
        _views(work, [("embeddings_mine", SELECT)])
        file = work.folder / "f.csv"
        file.write_text("ImgName,0,1\n101.jpg,1,2\n")
        return ["featurestore", "import-embeddings", str(file), "--backbone", "mine"]

    def embed(work: Work) -> list[str]:
        _views(work, [("labeled_descriptors", SELECT)])
        return ["featurestore", "embed", "--backbone", "descriptors"]

    def bench(work: Work) -> list[str]:
        two = "SELECT ImgId, CASE WHEN ImgId < 104 THEN 'A' ELSE 'B' END AS Genre1 FROM collection"
        _views(work, [("bench_runs", SELECT), ("two", two)])
        return [*BENCH, "--view", "two"]

    def table(work: Work) -> list[str]:
        FeatureStore(work.store).append({"embeddings_mine": pa.table({"a": [1]})})
        file = work.folder / "f.csv"
        file.write_text("ImgName,0,1\n101.jpg,1,2\n")
        return ["featurestore", "import-embeddings", str(file), "--backbone", "mine"]

    one = "can't be that of"
    return [
        Kind("views", "named as a backbone's that comes later", backbone, Refused(f"'embeddings_mine' {one}")),
        Kind("views", "named as those of `embed`", embed, Refused(f"'labeled_descriptors' {one}")),
        Kind("views", "named as a table of the bench", bench, Refused(f"'bench_runs' {one}")),
        Kind("views", "a table named as a backbone's", table, Refused(f"'embeddings_mine' {one}")),
    ]


def _learned() -> list[Kind]:
    missing = Refused("the view 'mine' has no row")
    kinds = [
        _used(
            "learned from, without the label",
            "SELECT ImgId, Title FROM collection",
            BENCH,
            Refused("has no column 'Genre1'"),
        ),
        _used(
            "learned from, of one class",
            "SELECT ImgId, 'Drama' AS Genre1 FROM collection",
            BENCH,
            Refused("one class only"),
        ),
        _used(
            "learned from, of a class with one row",
            "SELECT ImgId, CASE WHEN ImgId = 101 THEN 'A' ELSE 'B' END AS Genre1 FROM collection",
            BENCH,
            Refused("A|row"),
        ),
        _used(
            "learned from, of labels that are missing",
            "SELECT ImgId, NULL::VARCHAR AS Genre1 FROM collection",
            BENCH,
            Refused("none of the 6 rows .* has a Genre1"),
        ),
        _used("learned from, of no rows", f"{SELECT} WHERE false", BENCH, missing),
        _used(
            "learned from, of lists that are rare",
            "SELECT ImgId, [Genre1] AS Genre1 FROM collection",
            BENCH,
            Refused("each Genre1 of the view 'mine' has fewer than"),
        ),
        _used(
            "exported, of a column that is not there",
            SELECT,
            ("featurestore", "export", "--backbone", "counting", "--columns", "none", "-o", "out.parquet"),
            Refused("has no column 'none'"),
        ),
    ]
    return [
        *kinds,
        Kind(
            "views",
            "learned from, that is not there",
            lambda work: [*BENCH, "--view", "none"],
            Refused("has no view 'none'"),
        ),
    ]


KINDS = [*_created(), *_meeting(), *_learned()]
