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
    table = scanned.set_column(0, IMAGES.field("ImgId"), from_numpy(found.ids).cast(pa.int32()))
    gone = found.gone
    external = pc.equal(gone["status"], "external")
    status = pc.if_else(external, "external", "gone").cast(pa.string())
    gone = gone.set_column(IMAGES.get_field_index("status"), IMAGES.field("status"), status)
    return Numbered(pa.concat_tables([table, gone.cast(IMAGES)]), found.renamed)
