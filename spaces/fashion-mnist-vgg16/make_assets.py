#!/usr/bin/env python3
"""Makes the assets beside it: the weights of VGG-16's first layers, and a small class-balanced Fashion-MNIST.

    python3 make_assets.py --weights vgg16-imagenet-conv1_1-conv4_3.safetensors --images /usr/share/datasets/fashion-mnist

--weights  VGG-16's convolutions as safetensors, `convB_N.weight` [out, in, 3, 3] and `convB_N.bias` [out], f32 (see NOTICE)
--images   the four gzip files of Fashion-MNIST (Debian: package dataset-fashion-mnist)
--out      where to write (default: this script's folder)

Standard library only. The same input and Python give the same bytes.
"""
import argparse, array, gzip, json, pathlib, random, struct

LAYERS = "conv1_1 conv1_2 conv2_1 conv2_2 conv3_1 conv3_2 conv3_3".split()
# part: (prefix of the file it is drawn from, images per class)
PARTS = {"evaluation": ("t10k", 100), "validation": ("train", 100), "training": ("train", 400)}
CLASSES, SEED = 10, 20170619


def read_safetensors(path):
    raw = path.read_bytes()
    (size,) = struct.unpack_from("<Q", raw)
    return json.loads(raw[8 : 8 + size]), raw[8 + size :]


def write_weights(source, target):
    """Copies the layers in LAYERS, rounded to the nearest f16."""
    header, data = read_safetensors(source)
    entries, chunks, offset = {}, [], 0
    for name in (f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")):
        entry = header[name]
        assert entry["dtype"] == "F32", (name, entry["dtype"])
        begin, end = entry["data_offsets"]
        values = array.array("f", data[begin:end])
        chunks.append(struct.pack(f"<{len(values)}e", *values))
        entries[name] = {"dtype": "F16", "shape": entry["shape"], "data_offsets": [offset, offset + len(chunks[-1])]}
        offset += len(chunks[-1])
    metadata = {"source": "VGG-16 (ImageNet), Simonyan & Zisserman 2014, CC BY 4.0; conv1_1 to conv3_3 rounded to f16"}
    text = json.dumps({"__metadata__": metadata, **entries}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    target.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))


def read_idx(path):
    """Dimensions and bytes of a gzip IDX file of unsigned bytes."""
    raw = gzip.decompress(path.read_bytes())
    zero, kind, rank = struct.unpack_from(">HBB", raw)
    assert (zero, kind) == (0, 8), path
    return struct.unpack_from(f">{rank}I", raw, 4), raw[4 + 4 * rank :]


def write_idx(path, shape, data):
    header = struct.pack(">HBB", 0, 8, len(shape)) + struct.pack(f">{len(shape)}I", *shape)
    path.write_bytes(gzip.compress(header + data, compresslevel=9, mtime=0))


def write_parts(folder, out):
    """Draws each part at random, as many images of each class; no two images in all parts are equal."""
    draw, seen, taken = random.Random(SEED), set(), {"train": set(), "t10k": set()}
    for part, (prefix, per_class) in PARTS.items():
        (_, height, width), pixels = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
        _, labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
        size = height * width
        order = [i for i in range(len(labels)) if i not in taken[prefix]]
        draw.shuffle(order)
        left, chosen = [per_class] * CLASSES, []
        for i in order:
            image = pixels[i * size : (i + 1) * size]
            if left[labels[i]] and image not in seen:
                left[labels[i]] -= 1
                seen.add(image)
                taken[prefix].add(i)
                chosen.append(i)
        assert not any(left), (part, left)
        draw.shuffle(chosen)  # the draw ends with the rarer classes: mix them again
        images = b"".join(pixels[i * size : (i + 1) * size] for i in chosen)
        write_idx(out / f"{part}-images-idx3-ubyte.gz", (len(chosen), height, width), images)
        write_idx(out / f"{part}-labels-idx1-ubyte.gz", (len(chosen),), bytes(labels[i] for i in chosen))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=pathlib.Path, required=True)
    parser.add_argument("--images", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    options = parser.parse_args()
    write_weights(options.weights, options.out / "vgg16-conv1_1-conv3_3.f16.safetensors")
    write_parts(options.images, options.out)


if __name__ == "__main__":
    main()
