#!/usr/bin/env python3
"""Holds an exported package's `local_net.onnx` against the program's own features and the manifest's figures.

    pip install numpy onnx onnxruntime pillow
    python3 tests/onnx_export.py PACKAGE IMAGES FEATURES [--images 100] [--tolerance 1e-3] [--report-only]

PACKAGE   folder with `local_net.onnx` and `manifest.json`
IMAGES    folder of PNG, JPEG or WebP files, taken in the order of their paths; of the size the package takes, or, where
          its manifest has `preprocessing.resize`, of any (resized by Pillow, so perhaps a little differently)
FEATURES  `.npy` of [images, channels, rows, columns] in the same order, or the folder of `STEM.features.npy` that
          `privynet features` wrote

The net takes RGB from 0 to 255, [N, 3, rows, columns], float32 or uint8; border and normalisation are part of it. Prints the
largest difference between onnxruntime's features and the given ones, absolute and relative to the largest value among the
image's features; exits with 1 where the latter is above the tolerance, or where multiply-accumulates, parameters, their bytes,
the features' shape or the upload's bytes, counted from the graph, are not the manifest's. A `cloud_net.onnx` in the package must
take the features.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from PIL import Image, ImageOps

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}
ELEMENT_BYTES = {onnx.TensorProto.FLOAT: 4, onnx.TensorProto.FLOAT16: 2, onnx.TensorProto.BFLOAT16: 2,
                 onnx.TensorProto.DOUBLE: 8, onnx.TensorProto.INT8: 1, onnx.TensorProto.UINT8: 1}
PRECISION_BYTES = {"f16": 2, "f32": 4, "int8": 1}


class Net:
    """An ONNX file of one input `[N, channels, rows, columns]`: its session, and the name, type and shape of that input."""

    def __init__(self, path):
        self.model = onnx.load(path)
        onnx.checker.check_model(self.model, full_check=True)
        constants = {t.name for t in self.model.graph.initializer}
        inputs = [i for i in self.model.graph.input if i.name not in constants]
        if len(inputs) != 1:
            raise SystemExit(f"{path} takes {len(inputs)} inputs: {[i.name for i in inputs]}")
        self.name = inputs[0].name
        tensor = inputs[0].type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
        if len(dims) != 4 or None in dims[1:]:
            raise SystemExit(f"`{self.name}` has shape {dims}: [N, channels, rows, columns] is expected")
        self.batch, self.shape = dims[0], tuple(dims[1:])
        self.dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self.session = ort.InferenceSession(self.model.SerializeToString(), options, ["CPUExecutionProvider"])
        self.output = self.session.get_outputs()[0].name

    def run(self, x):
        """`x` is [N, channels, rows, columns]."""
        x = np.ascontiguousarray(x.astype(self.dtype))
        step = self.batch or 16
        if len(x) % step and self.batch:
            raise SystemExit(f"the net takes {step} images at a time, there are {len(x)}")
        return np.concatenate([self.session.run([self.output], {self.name: x[i:i + step]})[0] for i in range(0, len(x), step)])


def read_image(path, preprocessing):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    resize = preprocessing.get("resize")
    if resize:
        to, (width, height) = resize["to"], image.size
        if resize.get("fit", "crop") == "stretch":
            image = image.resize((to, to), Image.Resampling.BILINEAR)
        elif (width, height) != (to, to):
            short = min(width, height)
            size = tuple(to if side == short else int(to * side / short) for side in (width, height))
            image = image.resize(size, Image.Resampling.BILINEAR)
            left, top = (int(round((side - to) / 2)) for side in size)
            image = image.crop((left, top, left + to, top + to))
    return np.asarray(image)


def fit(pixels, size, path):
    """Refuses an image of another size than the net takes; `[3, rows, columns]`."""
    if pixels.shape[:2] != size:
        raise SystemExit(f"{path} is {pixels.shape[0]}×{pixels.shape[1]}, the net takes {size[0]}×{size[1]}")
    return pixels.transpose(2, 0, 1)


def difference(found, reference):
    """Largest difference, and the largest relative to the image's largest value."""
    if found.shape != reference.shape:
        raise SystemExit(f"onnxruntime's features are {list(found.shape)}, the given ones {list(reference.shape)}")
    found, reference = found.astype(np.float64), reference.astype(np.float64)
    each = np.abs(found - reference).reshape(len(found), -1).max(axis=1)
    scale = np.abs(reference).reshape(len(found), -1).max(axis=1)
    if not np.isfinite(each).all():
        return np.inf, np.inf
    return each.max(), (each / np.maximum(scale, 1e-12)).max()


def features(path, images):
    if not path.is_dir():
        values = np.load(path)
        return values[None] if values.ndim == 3 else values
    parts = []
    for image in images:
        file = path / f"{image.stem}.features.npy"
        if not file.is_file():
            raise SystemExit(f"{file} is missing")
        parts.append(np.load(file))
    return np.stack(parts)


def constants_behind(graph):
    """Stored tensors by the name of what reads them: through Constant, Identity, Cast and DequantizeLinear."""
    found = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = attribute.t
        elif node.op_type in ("Identity", "Cast", "DequantizeLinear") and node.input[0] in found:
            found[node.output[0]] = found[node.input[0]]
    return found


def count(net):
    """Multiply-accumulates per image; weights and biases, as elements and stored bytes; elements of other parameters."""
    graph = net.model.graph
    stored = constants_behind(graph)
    layers = [n for n in graph.node if n.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]
    outputs = [n.output[0] for n in layers]
    model = onnx.ModelProto.FromString(net.model.SerializeToString())
    have = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=o) for o in outputs if o not in have)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    batch = net.batch or 1
    values = session.run(outputs + [net.output], {net.name: np.zeros((batch, *net.shape), net.dtype)})
    macs, weights = 0, {}
    for node, value in zip(layers, values):
        weight = stored.get(node.input[1])
        if weight is None:
            raise SystemExit(f"the weights of {node.op_type} `{node.output[0]}` are not in the file")
        dims = list(weight.dims)
        if node.op_type == "Conv":  # [out, in / groups, rows, columns] for each number of the output
            macs += int(np.prod(value.shape[1:])) * int(np.prod(dims[1:]))
        elif node.op_type == "ConvTranspose":
            raise SystemExit("ConvTranspose is not counted")
        else:  # rows of the left matrix, per image, times the right one
            left = value.size // value.shape[-1] // batch
            macs += left * int(np.prod(dims))
        for name in node.input[1:3]:
            if name in stored:
                weights[stored[name].name or name] = stored[name]
    elements = sum(int(np.prod(t.dims)) for t in weights.values())
    # Integers have a scale and a zero for each output channel.
    steps = {name: stored[name] for n in graph.node if n.op_type == "DequantizeLinear" for name in n.input[1:]}
    size = sum(int(np.prod(t.dims)) * ELEMENT_BYTES[t.data_type] for t in [*weights.values(), *steps.values()])
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    other = {t.name or n: int(np.prod(t.dims)) for n, t in stored.items() if t.data_type in floats and (t.name or n) not in weights | steps}
    return macs, elements, size, sum(other.values()), list(values[-1].shape[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=pathlib.Path)
    parser.add_argument("images_folder", metavar="images", type=pathlib.Path)
    parser.add_argument("features", type=pathlib.Path)
    parser.add_argument("--images", type=int, default=100, help="at most so many")
    parser.add_argument("--tolerance", type=float, default=1e-3)
    parser.add_argument("--report-only", action="store_true", help="print the figures' differences, fail for features alone")
    args = parser.parse_args()

    manifest = json.loads((args.package / "manifest.json").read_text())
    preprocessing = manifest.get("preprocessing", {})
    net = Net(args.package / "local_net.onnx")
    paths = sorted(p for p in args.images_folder.rglob("*") if p.suffix.lower() in SUFFIXES)[:args.images]
    if not paths:
        raise SystemExit(f"no images in {args.images_folder}")
    reference = features(args.features, paths)
    if len(reference) < len(paths) and not args.features.is_dir():
        print(f"{len(paths)} images, {len(reference)} features: the first {len(reference)} are compared")
        paths = paths[:len(reference)]
    reference = reference[:len(paths)]
    pixels = np.stack([fit(read_image(p, preprocessing), net.shape[1:], p) for p in paths])
    found = net.run(pixels)
    absolute, relative = difference(found, reference)
    print(f"input `{net.name}`: {np.dtype(net.dtype).name}, {list(net.shape)}, pixels from 0 to 255")
    print(f"{len(paths)} images: largest difference {absolute:.3g}, {relative:.3g} of the image's largest feature")
    problems = []
    if not relative <= args.tolerance:
        problems.append(f"features differ by {relative:.3g}, more than {args.tolerance:g}")

    macs, elements, size, other, shape = count(net)
    cost = manifest.get("cost", {})
    weights_bytes = PRECISION_BYTES.get(str(manifest.get("weights_precision")).lower())
    features_bytes = PRECISION_BYTES.get(str(manifest.get("features_precision")).lower())
    figures = [("multiply-accumulates", macs, cost.get("macs")), ("parameters", elements, cost.get("parameters")),
               ("bytes of parameters", size, cost.get("bytes")), ("shape of the features", shape, manifest.get("feature_shape"))]
    if features_bytes:
        figures.append(("bytes of the upload", int(np.prod(shape)) * features_bytes, cost.get("upload_bytes")))
    differing = []
    for name, counted, said in figures:
        word = "is not in the manifest" if said is None else "as in the manifest" if said == counted else f"MANIFEST: {said}"
        if name == "bytes of parameters" and said not in (None, counted) and weights_bytes and elements * weights_bytes == said:
            word = f"as in the manifest at its precision ({said})"
        elif said not in (None, counted):
            differing.append(f"{name}: {counted} in the graph, {said} in the manifest")
        print(f"{name}: {counted}, {word}")
    print(f"elements of other constants (scales, means): {other}")
    if not args.report_only:
        problems += differing
    cloud = args.package / "cloud_net.onnx"
    if cloud.is_file():
        scores = Net(cloud).run(found)
        print(f"cloud net: {scores.shape[1]} classes, the first image's is {int(scores[0].argmax())}")
        if not np.isfinite(scores).all():
            problems.append("the cloud net's scores are not finite")
    for problem in problems:
        print("FAILED:", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
