"""Values on the command line, paths, bundles and locks that are not what they should be."""

from collections.abc import Sequence
from dataclasses import replace

from support import edit_record

from torture.inputs import Accepted, Kind, Refused, Work

SIMILAR = ("featurestore", "similar", "--backbone", "counting", "--id", "101")
SQL = ("featurestore", "sql")
EXPORT = ("featurestore", "export", "--backbone", "counting")
BENCH = ("benchmarks", "run", "--head", "majority")
HUGE = "9" * 400
VIEW_THAT_WRITES = {"a": "COPY (SELECT 1) TO 'x'"}


def _command(name: str, command: Sequence[str], expect: Accepted | Refused) -> Kind:
    """A command; OUT in it is a place to write."""
    return Kind("values", name, lambda work: [part.replace("OUT", str(work.out)) for part in command], expect)


def _numbers() -> list[Kind]:
    k = "expected 1 or more"
    return [
        _command("k of 0", [*SIMILAR, "-k", "0"], Refused(k)),
        _command("k of -3", [*SIMILAR, "-k", "-3"], Refused(k)),
        _command("k of 1e9", [*SIMILAR, "-k", "1000000000"], Accepted(printed="101  ")),
        _command("k of 400 digits", [*SIMILAR, "-k", HUGE], Accepted(printed="101  ")),
        _command("k of words", [*SIMILAR, "-k", "ten"], Refused("not a valid integer", 2)),
        _command("an id that is not there", [*SIMILAR[:-1], "999"], Refused("ImgId 999 has no embedding")),
        _command("an id below zero", [*SIMILAR[:-1], "-1"], Refused("ImgId -1 has no embedding")),
        _command("an id beyond 32 bits", [*SIMILAR[:-1], "1099511627776"], Refused("has no embedding")),
        _command("an id of 400 digits", [*SIMILAR[:-1], HUGE], Refused("has no embedding|expected")),
        _command(
            "lineage of an id of 400 digits", ["featurestore", "lineage", HUGE], Refused("no image with ImgId|expected")
        ),
        Kind(
            "values",
            "lineage of an id below zero",
            lambda work: ["featurestore", "lineage", "--store", str(work.store), "--", "-5"],
            Refused("no image with ImgId -5"),
        ),
        _command("an unknown metric", [*SIMILAR, "--metric", "hamming"], Refused("is not one of", 2)),
        _command(
            "an unknown backbone",
            ["featurestore", "similar", "--backbone", "nope", "--id", "101"],
            Refused("no backbone 'nope'"),
        ),
        _command(
            "neither id nor image",
            ["featurestore", "similar", "--backbone", "counting"],
            Refused("--id, --image, --vector or --text", 2),
        ),
        _command(
            "an image that is not there",
            ["featurestore", "similar", "--backbone", "descriptors", "--image", "none.jpg"],
            Refused("no backbone 'descriptors'|can't be read"),
        ),
        *(
            _command(
                f"a time limit of {seconds}", [*SQL, "SELECT 1", "--timeout", seconds], Refused("expected more than 0")
            )
            for seconds in ("0", "-1", "nan")
        ),
        _command("a time limit of inf", [*SQL, "SELECT 1 AS one", "--timeout", "inf"], Accepted(printed="1")),
        _command("a time limit of 1e300", [*SQL, "SELECT 1 AS one", "--timeout", "1e300"], Accepted(printed="1")),
        *(
            _command(
                f"a wait of {seconds}", ["featurestore", "compact", "--wait", seconds], Refused("expected 0 or more")
            )
            for seconds in ("-1", "nan")
        ),
        _command(
            "a batch size of 0", ["featurestore", "embed", "--backbone", "descriptors", "--batch-size", "0"], Refused(k)
        ),
        _command(
            "workers of -1", ["featurestore", "embed", "--backbone", "descriptors", "--workers", "-1"], Refused(k)
        ),
        Kind(
            "values",
            "genres of 0",
            lambda work: [*work.ingest(), "--top-genres", "0"],
            Refused("genres, expected 1 to"),
        ),
        Kind(
            "values",
            "genres of 30 digits",
            lambda work: [*work.ingest(), "--top-genres", "9" * 30],
            Refused("genres, expected"),
        ),
        _command("a cosine of 2", ["featurestore", "quality", "--cosine", "2"], Refused("cosine|not in the range")),
        _command("a cosine of nan", ["featurestore", "quality", "--cosine", "nan"], Refused("cosine|not in the range")),
        _command(
            "a seed below zero", ["featurestore", "sample", "OUT", "--seed", "-1"], Refused("not in the range", 2)
        ),
        *(
            _command(f"folds of {folds}", [*BENCH, "--folds", folds], Refused("folds|rows"))
            for folds in ("0", "1", "-2", "999")
        ),
        _command("repeats of 0", [*BENCH, "--folds", "2", "--repeats", "0"], Refused("expected 1 or more")),
        _command(
            "a seed of the bench below zero", [*BENCH, "--folds", "2", "--seed", "-1"], Refused("not in the range", 2)
        ),
        _command(
            "a seed of the bench beyond 32 bits",
            [*BENCH, "--folds", "2", "--seed", "4294967296"],
            Refused("not in the range", 2),
        ),
        _command("an unknown head", ["benchmarks", "run", "--head", "rigde"], Refused("did you mean 'ridge'")),
        _command("an unknown protocol", [*BENCH, "--protocol", "loo"], Refused("is not one of", 2)),
        _command("an unknown command", ["featurestore", "frobnicate"], Refused("No such command", 2)),
    ]


def _texts() -> list[Kind]:
    where = "can't be used"
    return [
        *(
            _command(f"the condition {text!r}", [*SIMILAR, "--where", text], Refused(where))
            for text in (
                "nonsense !",
                "nothing = 1",
                "",
                "ImgId IN (SELECT * FROM '/etc/passwd')",
                "1; DROP VIEW labeled",
                "true) --",
            )
        ),
        *(
            _command(f"the query {text[:30]!r}", [*SQL, text], Refused("the query|statements|nested"))
            for text in (
                "",
                "SELEC 1",
                "SELECT 1; SELECT 2",
                "SELECT '",
                "SELECT * FROM nothing",
                f"SELECT {'+'.join('1' * 900)}",
                f"SELECT {'[' * 500}{']' * 500}",
                "SELECT error('')",
                "DROP VIEW labeled",
            )
        ),
        *(
            _command(
                f"{query} as {form}",
                [*SQL, f"SELECT {query}", "--format", form, "-o", "OUT"],
                Refused("can't hold this result"),
            )
            for query, form in (
                ("'infinity'::DATE", "json"),
                ("TIMESTAMP '290000-01-01'", "json"),
                ("INTERVAL 1 MONTH", "parquet"),
                ("[1]", "csv"),
            )
        ),
        _command(
            "a snapshot that is not there",
            ["featurestore", "info", "--snapshot", "none"],
            Refused("no snapshot 'none'"),
        ),
        _command(
            "a snapshot by a path",
            ["featurestore", "info", "--snapshot", "../state"],
            Refused("no snapshot '../state'"),
        ),
        *(
            _command(
                f"a new snapshot named {name[:12]!r}",
                ["featurestore", "snapshot", "create", name],
                Refused("got the snapshot name"),
            )
            for name in ("../up", "", "a b", "x" * 101, ".hidden", "a/b", "n\nl")
        ),
        *(
            _command(
                f"a backbone named {name[:12]!r}",
                ["featurestore", "embed", "--backbone", "descriptors", "--name", name],
                Refused("got the name"),
            )
            for name in ("Inception-v3", "x" * 65, "a;b", "../a")
        ),
        _command("an unknown model", ["featurestore", "embed", "--backbone", "incepton_v3"], Refused("inception_v3")),
        _command(
            "weights for one that has none",
            ["featurestore", "embed", "--backbone", "descriptors", "--weights", "x"],
            Refused("takes no --weights"),
        ),
        _command(
            "a column that is no label", [*EXPORT, "--label", "none", "-o", "OUT"], Refused("has no column 'none'")
        ),
        _command("a view that is not there", [*EXPORT, "--view", "none", "-o", "OUT"], Refused("has no view 'none'")),
    ]


def _there(work: Work) -> list[str]:
    """An export to a file of its own ending that is there already."""
    file = work.folder / "there.parquet"
    file.write_bytes(b"something else")
    return [*EXPORT, "-o", str(file)]


def _paths() -> list[Kind]:
    def store(name: str, place: str, sentence: str) -> Kind:
        """``place`` is taken below the folder of the kind."""
        return Kind(
            "values",
            name,
            lambda work: ["featurestore", "info", "--store", str(work.folder / place)],
            Refused(sentence),
        )

    def corrupt(name: str, content: bytes, sentence: str) -> Kind:
        def make(work: Work) -> list[str]:
            (work.store / "state.json").write_bytes(content)
            return ["featurestore", "info"]

        return Kind("values", name, make, Refused(sentence))

    def edited(name: str, fields: dict[str, object], sentence: str) -> Kind:
        def make(work: Work) -> list[str]:
            edit_record(work.store / "state.json", **fields)
            return ["featurestore", "info"]

        return Kind("values", name, make, Refused(sentence))

    return [
        store("a store that is a file", "MovieGenre.csv", "there is no store"),
        store("a store that is a folder of other things", "posters", "there is no store"),
        store("a store that is not there", "none", "there is no store"),
        store("a store of a name that is too long", "x" * 300, "too long"),
        Kind(
            "values",
            "an ingest into a file",
            lambda work: [*work.ingest(), "--store", str(work.metadata)],
            Refused("is a file"),
        ),
        Kind(
            "values",
            "an ingest into other things",
            lambda work: [*work.ingest(), "--store", str(work.images)],
            Refused("is not a store and holds other files"),
        ),
        Kind(
            "values",
            "an ingest into an address that is none",
            lambda work: [*work.ingest(), "--store", "s3://b/s?colour=red"],
            Refused("expected s3://BUCKET/PATH"),
        ),
        corrupt("a state that is empty", b"", "is damaged"),
        corrupt("a state that is a list", b"[]", "is damaged"),
        corrupt("a state that is no text", b"\xff\xfe", "is damaged"),
        corrupt("a state of an early format", b'{"format": 1, "tables": {"movies": 99}}', "before the first release"),
        corrupt("a state nested 100,000 times", b"[" * 100_000, "is damaged"),
        edited("a state of a later format", {"format": 99}, "has format 99"),
        edited("a state of other fields", {"x": 1}, "is damaged"),
        edited("a state whose fields are of other types", {"tables": [1], "revisions": 3}, "is damaged"),
        edited("a state of tables that are not there", {"tables": {"images": "0" * 64}}, "no table of the vectors"),
        replace(
            edited("a state with a view that runs code", {"views": VIEW_THAT_WRITES}, ""),
            expect=Accepted(printed="only SELECT can be run here"),
        ),
        _command(
            "an output in a folder that is not there", [*EXPORT, "-o", "OUT/none/f"], Refused("there is no folder")
        ),
        Kind(
            "values",
            "an output that is a folder",
            lambda work: [*EXPORT, "-o", str(work.images)],
            Refused("is a folder"),
        ),
        Kind("values", "an output that is there", _there, Refused("exists")),
        Kind(
            "values",
            "a query's output that is a folder",
            lambda work: [*SQL, "SELECT 1", "-o", str(work.images)],
            Refused("is a folder"),
        ),
        _command("an output of a name that is too long", [*EXPORT, "-o", "OUT" + "x" * 300], Refused("too long")),
        Kind(
            "values",
            "a bundle in the place of a folder",
            lambda work: [*EXPORT, "--format", "bundle", "--force", "-o", str(work.images)],
            Refused("is not a bundle"),
        ),
        _command(
            "a report of another suffix", ["benchmarks", "report", "-o", "OUT.pdf"], Refused("ends with .html or .md")
        ),
        _command("a head file that is not there", [*BENCH, "--head-file", "none.py"], Refused("none.py")),
        Kind("values", "a head file that is no Python", _heads, Refused("heads.py")),
    ]


def _heads(work: Work) -> list[str]:
    file = work.folder / "heads.py"
    file.write_text("this is no Python")
    return [*BENCH, "--head-file", str(file)]


KINDS = [*_numbers(), *_texts(), *_paths()]
