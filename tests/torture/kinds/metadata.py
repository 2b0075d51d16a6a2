"""Metadata files in other encodings, of other columns, with ids and fields that are not what they should be."""

import csv
import gzip
import io
from collections.abc import Callable, Sequence

from featurestore.collections.movies.columns import COLUMNS
from torture.inputs import Accepted, Kind, Refused, Work

HEADER = ",".join(COLUMNS)
# One movie of the posters, so that the result shows in the collection.
ROW = "101,l,T,6.5,Drama,p"
ONE = Accepted("SELECT * EXCLUDE (ImgId) FROM movies", [(101, "l", "T", 6.5, "Drama", "p")])


def _bytes(name: str, content: bytes, expect: Accepted | Refused, *, file: str = "m.csv") -> Kind:
    def make(work: Work) -> list[str]:
        path = work.folder / file
        path.write_bytes(content)
        return work.ingest(metadata=path)

    return Kind("metadata", name, make, expect)


def _text(name: str, text: str, expect: Accepted | Refused, *, encoding: str = "utf-8") -> Kind:
    return _bytes(name, text.encode(encoding), expect)


def _rows(name: str, rows: Sequence[str], expect: Accepted | Refused) -> Kind:
    return _text(name, "\n".join([HEADER, *rows]) + "\n", expect)


def _written(*fields: object) -> str:
    """One row as the csv module quotes it."""
    buffer = io.StringIO()
    csv.writer(buffer).writerow(fields)
    return buffer.getvalue()


def _titles(*titles: str) -> Accepted:
    return Accepted("SELECT Title FROM movies ORDER BY imdbId", [(title,) for title in titles])


def _encodings() -> list[Kind]:
    text = f"{HEADER}\n101,l,Träd gård,6.5,Drama,p\n"
    title = _titles("Träd gård")
    return [
        _text("UTF-8", text, title),
        _text("latin-1", text, title, encoding="latin-1"),
        _text("cp1252", text.replace("gård", "gård’s"), _titles("Träd gård’s"), encoding="cp1252"),
        _text("UTF-8 with a byte-order mark", text, title, encoding="utf-8-sig"),
        _text("UTF-16", text, title, encoding="utf-16"),
        _text("UTF-32", text, Refused("is not a text file"), encoding="utf-32"),
        _text("damaged letters", text.replace("Träd", "TrÌ_d"), _titles("TrÌ_d gård")),
        _text("a byte of zero", text.replace("gård", "g\0rd"), Refused("is not a text file")),
        _text("line ends of Windows", text.replace("\n", "\r\n"), title),
        _text("line ends of the old Macintosh", text.replace("\n", "\r"), title),
        _text("no line end at the end", text.rstrip("\n"), title),
        _text("empty lines between", text.replace("\n101", "\n\n\n101") + "\n\n", title),
        _bytes("gzip", gzip.compress(text.encode()), title, file="m.csv.gz"),
        _bytes("gzip named .csv", gzip.compress(text.encode()), title),
        _bytes("gzip cut short", gzip.compress(text.encode())[:-12], Refused("damaged gzip"), file="m.csv.gz"),
        _bytes(
            "gzip with a flipped bit", _flipped(gzip.compress(text.encode())), Refused("damaged gzip"), file="m.csv.gz"
        ),
        _bytes("a .gz that is none", text.encode(), title, file="m.csv.gz"),
        _bytes("a picture", b"\x89PNG\r\n\x1a\n\0\0", Refused("is not a text file")),
    ]


def _flipped(content: bytes) -> bytes:
    return content[:-10] + bytes([content[-10] ^ 0xFF]) + content[-9:]


def _columns() -> list[Kind]:
    kinds = [
        _text("an empty file", "", Refused("is empty")),
        _text("nothing but line ends", "\n\n \n", Refused("is empty")),
        _text("a header only", HEADER + "\n", Accepted("SELECT count(*) FROM movies", [(0,)])),
        _text("a header without a line end", HEADER, Accepted("SELECT count(*) FROM movies", [(0,)])),
        _text("an extra column", f"x,{HEADER}\n1,{ROW}\n", ONE),
        _text("two extra columns of one name", f"{HEADER},x,x\n{ROW},1,2\n", ONE),
        _text("a column twice", f"{HEADER},imdbId\n{ROW},7\n", Refused("'imdbId' occurs more than once")),
        _text("columns in another order", "Genre,Poster,Title,imdbId,IMDB Score,Imdb Link\nDrama,p,T,101,6.5,l\n", ONE),
        _text("columns in small letters", f"{HEADER.lower()}\n{ROW}\n", ONE),
        _text("a column name with a space", f"{HEADER.replace('Title', ' Title')}\n{ROW}\n", ONE),
        _text("a column in two spellings", f"{HEADER.lower()},TITLE\n{ROW},T\n", Refused("could both be Title")),
        _text("quoted column names", f'"{HEADER.replace(",", chr(34) + "," + chr(34))}"\n{ROW}\n', ONE),
        _text("semicolons", f"{HEADER};\n{ROW}\n".replace(",", ";"), Refused("the column 'imdbId' is missing")),
        _text("tabs", f"{HEADER}\n{ROW}\n".replace(",", "\t"), Refused("the column 'imdbId' is missing")),
        _text("no header", f"{ROW}\n{ROW}\n", Refused("the column 'imdbId' is missing")),
        _text("a quote that opens the file", f'"{HEADER}\n{ROW}\n', Refused("not a CSV header|is missing")),
        _text("an empty first line", f"\n{HEADER}\n{ROW}\n", ONE),
    ]
    needed = ("imdbId", "Genre")
    for place, name in enumerate(COLUMNS):
        header, fields = HEADER.split(","), ROW.split(",")
        del header[place], fields[place]
        left = [None if other == name else value for other, value in zip(COLUMNS, ONE.rows[0], strict=True)]
        expect = Refused(f"the column '{name}' is missing") if name in needed else Accepted(ONE.query, [tuple(left)])
        kinds.append(_text(f"without the column {name}", f"{','.join(header)}\n{','.join(fields)}\n", expect))
    return kinds


def _fields() -> list[Kind]:
    long = "x" * 10_000_000
    quoted = 'A "B",\nC\r\nD; --\t\'\\'
    odd = "\u202etext\u2028\x1b[2J\U0001f3ac"
    regular = Refused("not a valid CSV")
    return [
        _text(
            "quotes and newlines in a field",
            f"{HEADER}\n{_written(101, 'l', quoted, 6.5, 'Drama', 'p')}",
            _titles(quoted),
        ),
        _text(
            "a field of 10 MB",
            f"{HEADER}\n101,l,{long},6.5,Drama,p\n",
            Accepted("SELECT len(Title) FROM movies", [(10_000_000,)]),
        ),
        _text("letters that move the cursor", f"{HEADER}\n{_written(101, 'l', odd, 6.5, 'Drama', 'p')}", _titles(odd)),
        _rows("a quote that never ends", [ROW, '7,l,"T,6,Drama,p', ROW], regular),
        _rows("a quote in the middle", ['101,l,T "x" y,6.5,Drama,p'], _titles('T "x" y')),
        _rows("too few fields", [ROW, "7,l,T"], regular),
        _rows("too few fields, the last with a newline", [ROW, '7,l,"T\nx"'], regular),
        _rows("too many fields", [ROW, f"{ROW},more"], regular),
        _rows("all fields empty", [",,,,,"], Refused("row 1 has no imdbId")),
        _rows("a score of words", ["101,l,T,good,Drama,p"], Refused("row 1 has 'good' as IMDB Score")),
        _rows("a score of nan", ["101,l,T,nan,Drama,p"], Refused("row 1 has 'nan' as IMDB Score")),
        _rows("a score of inf", ["101,l,T,inf,Drama,p"], Refused("row 1 has 'inf' as IMDB Score")),
        _rows("a score of 400 digits", [f"101,l,T,{'9' * 400},Drama,p"], Refused("as IMDB Score; expected a number")),
        _rows("a score with a comma", ['101,l,T,"6,5",Drama,p'], Refused("row 1 has '6,5' as IMDB Score")),
        _rows("a score with an exponent", ["101,l,T,65e-1,Drama,p"], ONE),
        _rows("a score with a sign", ["101,l,T,+6.5,Drama,p"], ONE),
        _rows("no score", ["101,l,T,,Drama,p"], Accepted("SELECT IMDBScore FROM movies", [(None,)])),
    ]


def _ids() -> list[Kind]:
    def one(name: str, written: str, expect: Accepted | Refused) -> Kind:
        return _rows(f"the id {name}", [f"{written},l,T,6.5,Drama,p"], expect)

    outside = Refused("as imdbId; expected a whole number from 0 to 2147483647")
    return [
        one("2147483647", "2147483647", Accepted("SELECT imdbId FROM movies", [(2**31 - 1,)])),
        one("2147483648", "2147483648", outside),
        one("beyond 64 bits", "18446744073709551616", outside),
        one("of 400 digits", "9" * 400, outside),
        one("-1", "-1", outside),
        one("'101.0'", "101.0", ONE),
        one("'101.5'", "101.5", outside),
        one("'1e3'", "1e3", outside),
        one("' 101'", " 101", ONE),
        one("'0101'", "0101", ONE),
        one("'tt0000101'", "tt0000101", ONE),
        one("'tt'", "tt", outside),
        one("'tt101.0'", "tt101.0", outside),
        one("'tt2147483648'", "tt2147483648", outside),
        one("of Arabic digits", "١٠١", outside),
        one("of full-width digits", "１０１", outside),
        one("with a comma", '"1,010"', outside),
        one("NULL", "NULL", outside),
        one("that is empty", "", Refused("row 1 has no imdbId")),
        one("of spaces", "   ", outside),
        _rows("the same row twice", [ROW, ROW], ONE),
        _rows("two rows of one id", [ROW, "101,l,Other,1,Comedy,p"], ONE),
        _rows("two ids that are one number", [ROW, "00101,l,Other,1,Comedy,p"], ONE),
    ]


def _genres() -> list[Kind]:
    def one(name: str, genre: str, *expected: str | None) -> Kind:
        query = "SELECT Genre1, Genre2, Genre3 FROM collection WHERE ImgId = 101"
        return _rows(name, [f"101,l,T,6.5,{genre},p"], Accepted(query, [expected]))

    return [
        one("four genres", "A|B|C|D", "A", "B", "C"),
        one("an empty genre between", "Drama||Comedy", "Drama", None, "Comedy"),
        one("an empty genre first", "|Drama", None, "Drama", None),
        one("nothing but bars", "|||", None, None, None),
        one("Short alone", "Short", None, None, None),
        one("Short first", "Short|Drama", "Drama", "Drama", None),
        one("a list as text", "\"['A', 'B']\"", "A", "B", None),
        one("a list of lists", "\"[['A'], 'B']\"", "[['A'], 'B']", None, None),
        one("commas between", '"A, B,C"', "A", "B", "C"),
        one("commas and bars", '"A, B|C"', "A, B", "C", None),
        one("ten thousand brackets", "[" * 10_000, "[" * 10_000, None, None),
        one("a genre in quotes", '"Dra""ma|X"', 'Dra"ma', "X", None),
    ]


def _paths() -> list[Kind]:
    def at(name: str, path: Callable[[Work], object], sentence: str) -> Kind:
        return Kind(
            "metadata",
            name,
            lambda work: ["featurestore", "ingest", "--metadata", str(path(work)), "--images", str(work.images)],
            Refused(sentence),
        )

    return [
        at("a folder", lambda work: work.folder, "is a folder"),
        at("a file that is not there", lambda work: work.folder / "none.csv", "there is no metadata file"),
        at("a name that is too long", lambda work: work.folder / ("x" * 300), "too long"),
        at("a path through a file", lambda work: work.metadata / "m.csv", "[Nn]ot a directory"),
        at("a link to itself", lambda work: _loop(work), "[Ss]ymbolic link"),
        at("a name with a newline", lambda work: work.folder / "no\nne.csv", r"no\\nne"),
    ]


def _loop(work: Work) -> object:
    path = work.folder / "loop.csv"
    path.symlink_to(path)
    return path


KINDS = [*_encodings(), *_columns(), *_fields(), *_ids(), *_genres(), *_paths()]
