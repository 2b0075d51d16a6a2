"""The ids of any collection: names are numbered once, and keep their number for good."""

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.arrow import from_numpy
from featurestore.collections.numbering import number as number_names
from featurestore.collections.reading import Numbered
from featurestore.storage.schemas import IMAGES


def number(scanned: pa.Table, before: pa.Table) -> Numbered:
    """Give each image of ``scanned`` its number; images of ``before`` that are not there now are kept as gone.

    Images that are known only from metadata or embeddings stay as they are.
    """
    found = number_names(scanned["ImgName"].to_pylist(), scanned["content_hash"].to_pylist(), before)
    ids = from_numpy(found.ids).cast(pa.int32())
    external = before.filter(pc.equal(before["status"], "external"))
    external = external.filter(pc.invert(pc.is_in(external["ImgId"], value_set=ids)))
    table = scanned.set_column(0, IMAGES.field("ImgId"), ids)
    return Numbered(pa.concat_tables([table, found.gone.cast(IMAGES), external]), found.renamed)
