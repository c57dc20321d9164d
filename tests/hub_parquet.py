"""Writes the Parquet fixtures of src/data/parquet/tests.rs and tests/cli/own_images.rs into tests/data, as Hugging Face's `datasets` would write them.

    pip install numpy pillow pyarrow && python3 tests/hub_parquet.py

Image i is 16x16 and (10 i, 20, 30) all over, but for its first pixel, (255, i, 0); its label is i % 2.
"""

import io
import json
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def png(i):
    pixels = np.full((16, 16, 3), (10 * i, 20, 30), np.uint8)
    pixels[0, 0] = (255, i, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(name, images, labels, image_type, metadata=None, column="image", **options):
    schema = pa.schema([(column, image_type), ("label", pa.int64())])
    if metadata:
        schema = schema.with_metadata({"huggingface": json.dumps(metadata)})
    table = pa.table({column: images, "label": labels}, schema)
    pq.write_table(table, pathlib.Path(__file__).parent / "data" / name, **options)


struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
info = {"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
rows = [{"bytes": png(i), "path": f"{i}.png"} for i in range(7)]
write("hub.parquet", rows, [i % 2 for i in range(7)], struct, info, row_group_size=3)
# Bytes alone, zstd, no names of the classes.
write("bytes.parquet", [png(i) for i in range(7)], [i % 2 for i in range(7)], pa.binary(), compression="zstd")
# An image that is not in the file, and an image without a label.
write("path-only.parquet", [*rows[:2], {"bytes": None, "path": "elsewhere.png"}], [0, 1, 0], struct)
write("no-label.parquet", rows[:3], [0, None, 1], struct)
# Enough for `privynet init`, with the column's name in the hub's CIFAR-10.
many = [{"bytes": png(i), "path": None} for i in range(24)]
write("many.parquet", many, [i % 2 for i in range(24)], struct, info, "img", row_group_size=5)
