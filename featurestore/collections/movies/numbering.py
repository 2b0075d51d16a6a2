"""The ids of the study: the number in the name of a file, as in 114709.jpg."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrow import to_numpy
from featurestore.collections.movies.ids import movie_number
from featurestore.collections.reading import Numbered
from featurestore.storage.schemas import IMAGES, MAX_ID

NO_NUMBER = f"the name is not a number from 0 to {MAX_ID}, so it names no ImgId"


def number(scanned: pa.Table, before: pa.Table) -> Numbered:
    """Give each image of ``scanned`` the number in its name; images known only from embeddings are kept.

    A name without a number, and all but the first file of each number, are quarantined.
    """
    files = scanned["file"].to_pylist()  # the name of an image always has a suffix
    ids = pa.array([movie_number(file.rpartition("/")[2].rpartition(".")[0]) for file in files], pa.int32())
    table = scanned.set_column(0, IMAGES.field("ImgId"), ids)
    unnamed = np.array(pc.is_null(ids))
    if unnamed.any():
        table = _quarantine(table, {int(row): NO_NUMBER for row in np.flatnonzero(unnamed)})
    table = _one_per_id(table)
    external = before.filter(pc.equal(before["status"], "external"))
    external = external.filter(pc.invert(pc.is_in(external["ImgId"], value_set=table["ImgId"].combine_chunks())))
    return Numbered(pa.concat_tables([table, external]))


def _one_per_id(table: pa.Table) -> pa.Table:
    usable = table.filter(pc.equal(table["status"], "ok"))
    if len(np.unique(to_numpy(usable["ImgId"]))) == len(usable):
        return table
    taken: dict[int, str] = {}
    again = {}
    columns = (table[name].to_pylist() for name in ("status", "ImgId", "ImgName"))
    for row, (status, img_id, name) in enumerate(zip(*columns, strict=True)):
        if status == "ok" and img_id in taken:
            again[row] = f"ImgId {img_id} is already used by {taken[img_id]}"
        elif status == "ok":
            taken[img_id] = name
    return _quarantine(table, again)


def _quarantine(table: pa.Table, reasons: dict[int, str]) -> pa.Table:
    """``table`` with the rows at these places marked as broken, for these reasons."""
    status, reason = table["status"].to_pylist(), table["reason"].to_pylist()
    for row, why in reasons.items():
        status[row], reason[row] = "broken", why
    for name, values in (("status", status), ("reason", reason)):
        place = IMAGES.get_field_index(name)
        table = table.set_column(place, IMAGES.field(name), pa.array(values, pa.string()))
    return table
