#!/usr/bin/env python3
"""Writes the ONNX fixtures in FOLDER (default: `tiny` beside this file).

    pip install numpy onnx onnxruntime safetensors
    python make.py [FOLDER]

Each good net is a small random graph about one feature. `expected.safetensors` has, in float32, the input it was
evaluated at (`NET/input`) and the values onnxruntime computes of some of its tensors (`NET/TENSOR`), graph
optimisations off. Files that a reader must refuse have none. `README.md` has one line for each file.

Weights and inputs come from a generator seeded with the net's name, so that nets can be added without changing others.
The same versions of the packages write the same bytes.
"""

import pathlib
import struct
import sys
import zlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto as T
from onnx import helper, numpy_helper
from safetensors.numpy import save_file

HERE = pathlib.Path(__file__).resolve().parent
OUT = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "tiny"

# IR versions as the opsets' contemporaries wrote them. Below 4, initialisers had to be graph inputs, too.
IR = {6: 3, 8: 3, 9: 4, 10: 5, 11: 6, 13: 7, 14: 7, 17: 8, 18: 8, 20: 9, 21: 10}
GOOD, OPTIONAL, REFUSED = "read", "read or refused", "refused"

expected = {}
lines = {GOOD: [], OPTIONAL: [], REFUSED: []}


class Net:
    """A graph under construction: `op` adds nodes, `w` initialisers; `save` writes a good net, `refuse` one to be refused."""

    def __init__(self, name, shape=("N", 3, 5, 5), opset=17, dtype=T.FLOAT, image="image"):
        self.name, self.opset, self.image = name, opset, image
        self.rng = np.random.default_rng(zlib.crc32(name.encode()))
        self.nodes, self.inits, self.count = [], [], {}
        self.inputs = [helper.make_tensor_value_info(image, dtype, shape)] if shape is not None else [
            helper.make_tensor_value_info(image, dtype, None)]

    def fresh(self, stem):
        self.count[stem] = self.count.get(stem, 0) + 1
        return f"{stem}{self.count[stem]}"

    def w(self, value, dtype=None, stem="w", form="raw"):
        """An initialiser: an array, or a shape in a list to be filled at random."""
        name = self.fresh(stem)
        if isinstance(value, list):
            value = self.normal(*value)
        value = np.asarray(value)
        if dtype is None and value.dtype == np.float64:
            value = value.astype(np.float32)
        elif dtype is not None:
            value = value.astype(dtype)
        if form == "raw":
            tensor = numpy_helper.from_array(np.array(value, order="C"), name)
        else:  # float_data, int64_data, int32_data
            tensor = helper.make_tensor(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape, value.flatten())
        self.inits.append(tensor)
        return name

    def normal(self, *shape):
        fan = int(np.prod(shape[1:])) or 1
        return (self.rng.standard_normal(shape) / np.sqrt(fan)).astype(np.float32)

    def op(self, kind, *inputs, out=None, outs=1, domain=None, **attributes):
        names = [out] if out else [self.fresh(kind.lower() + "_") for _ in range(outs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names[0] if outs == 1 else names

    def conv(self, x, cin, cout, k=3, bias=True, group=1, out=None, **attributes):
        kh, kw = (k, k) if isinstance(k, int) else k
        inputs = [x, self.w([cout, cin // group, kh, kw])]
        if bias:
            inputs.append(self.w(0.3 * self.rng.standard_normal(cout)))
        if group != 1:
            attributes["group"] = group
        return self.op("Conv", *inputs, out=out, **attributes)

    def bn(self, x, c, out=None, **attributes):
        r = self.rng
        values = [0.5 + r.random(c), 0.3 * r.standard_normal(c), 0.3 * r.standard_normal(c), 0.5 + r.random(c)]
        return self.op("BatchNormalization", x, *[self.w(v, stem="bn") for v in values], out=out, **attributes)

    def fc(self, x, n, m):
        """What follows the features in most nets: the mean of each channel and a layer."""
        x = self.op("Flatten", self.op("GlobalAveragePool", x))
        return self.op("Gemm", x, self.w([m, n]), self.w(0.3 * self.rng.standard_normal(m)), transB=1)

    def model(self, outputs, dtype=T.FLOAT, functions=(), domains=(), check=False):
        ir = IR.get(self.opset, 10)
        inputs = list(self.inputs)
        if ir < 4:
            inputs += [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in self.inits]
        infos = [o if isinstance(o, onnx.ValueInfoProto) else helper.make_tensor_value_info(o, dtype, None) for o in outputs]
        graph = helper.make_graph(self.nodes, self.name, inputs, infos, self.inits)
        opsets = [helper.make_opsetid("", self.opset)] + [helper.make_opsetid(d, 1) for d in domains]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ir, functions=functions)
        if check:
            shape_outputs(model)
            onnx.checker.check_model(model, full_check=True)
        return model

    def save(self, note, *outputs, show=(), input=None, status=GOOD, at=None, dtype=T.FLOAT, **more):
        """Writes the net; `show` names the tensors to be recorded beside the outputs."""
        model = self.model(outputs, dtype, check=True, **more)
        write(self.name, model.SerializeToString(deterministic=True), note, status)
        if input is None:
            shape = at or [d if isinstance(d, int) else 1 for d in dimensions(self.inputs[0])]
            input = self.rng.uniform(-1, 1, shape).astype(np.float32)
        names = [o if isinstance(o, str) else o.name for o in outputs]
        record(self.name, model, self.image, input, [*show, *names])
        return model

    def refuse(self, note, *outputs, check=True, status=REFUSED, **more):
        model = self.model(outputs, check=check, **more)
        write(self.name, model.SerializeToString(deterministic=True), note, status)
        return model


def shape_outputs(model):
    """Gives the graph's outputs the shapes that shape inference finds, as exporters do."""
    try:
        found = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output
    except onnx.shape_inference.InferenceError:
        found = []
    for output, inferred in zip(model.graph.output, found):
        if not output.type.tensor_type.HasField("shape"):
            output.CopyFrom(inferred)
    for output in model.graph.output:
        output.type.tensor_type.shape.SetInParent()


def dimensions(info):
    return [d.dim_value if d.HasField("dim_value") else d.dim_param for d in info.type.tensor_type.shape.dim]


def write(name, data, note, status, suffix=".onnx"):
    (OUT / f"{name}{suffix}").write_bytes(data)
    lines[status].append((name + suffix, note))


def record(name, model, image, value, tensors):
    """onnxruntime's values of `tensors`, as further outputs of the graph."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    have = {o.name for o in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=t) for t in tensors if t not in have)
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    values = session.run(list(tensors), {image: value})
    expected[f"{name}/input"] = np.ascontiguousarray(value, np.float32)
    for tensor, found in zip(tensors, values):
        assert np.isfinite(found).all() and found.std() > 0.003, (name, tensor)
        expected[f"{name}/{tensor}"] = np.ascontiguousarray(found, np.float32)


def convolutions():
    n = Net("conv", (1, 3, 5, 5))
    y = n.conv("image", 3, 3, pads=[1, 1, 1, 1])
    n.save("one Conv with bias, all else default but pads; batch fixed at 1", y)

    n = Net("conv-no-bias")
    y = n.conv("image", 3, 2, bias=False, kernel_shape=[3, 3], strides=[1, 1], pads=[0, 0, 0, 0], dilations=[1, 1])
    n.save("Conv without bias, every attribute spelt out", y)

    n = Net("conv-strides-pads", ("N", 3, 6, 7))
    a = n.conv("image", 3, 3, k=(3, 2), kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
    b = n.conv(a, 3, 2, k=(1, 3), pads=[0, 2, 0, 0])
    n.save("oblong kernels, pads that differ by axis and side ([top, left, bottom, right])", b, show=[a])

    n = Net("conv-oblong", ("N", 3, 5, 6))
    a = n.conv("image", 3, 2, strides=[2, 1], pads=[1, 0, 1, 0])
    b = n.conv(a, 2, 2, k=2, dilations=[1, 2])
    n.save("strides and dilations that differ by axis", b, show=[a], status=OPTIONAL)

    n = Net("conv-same-as-tf", ("N", 3, 6, 6))
    y = n.conv("image", 3, 2, strides=[2, 2], pads=[0, 0, 1, 1])
    n.save("asymmetric explicit pads, as TensorFlow's SAME at stride 2", y)

    n = Net("conv-dilations", ("N", 3, 6, 6))
    y = n.conv("image", 3, 2, k=(3, 2), dilations=[2, 2], pads=[2, 1, 2, 1])
    n.save("dilations and pads", y)

    n = Net("conv-groups", ("N", 3, 4, 4))
    a = n.conv("image", 3, 4, k=1)
    b = n.conv(a, 4, 6, group=2, pads=[1, 1, 1, 1])
    n.save("Conv of two groups", b, show=[a])

    n = Net("conv-depthwise")
    a = n.conv("image", 3, 4, k=1)
    b = n.conv(a, 4, 4, group=4, strides=[2, 2], pads=[1, 1, 1, 1])
    c = n.conv(b, 4, 8, group=4)
    n.save("depthwise Conv at stride 2, then one with two filters for each channel", c, show=[b])

    for pad, shape in (("SAME_UPPER", ("N", 3, 5, 6)), ("SAME_LOWER", ("N", 3, 5, 6)), ("VALID", ("N", 3, 6, 7))):
        n = Net("auto-pad-" + pad.lower().replace("_", "-"), shape)
        a = n.conv("image", 3, 2, k=2, auto_pad=pad)
        b = n.conv(a, 2, 3, k=3, auto_pad=pad, strides=[2, 2])
        c = n.op("MaxPool", b, kernel_shape=[2, 2], auto_pad=pad)
        n.save(f"auto_pad {pad} of Conv (even kernel; stride 2) and MaxPool", c, show=[a, b])

    n = Net("auto-pad-notset")
    y = n.conv("image", 3, 2, auto_pad="NOTSET", pads=[1, 1, 1, 1])
    n.save("auto_pad NOTSET beside explicit pads", y)

    n = Net("bias-as-add")
    a = n.conv("image", 3, 3, bias=False)
    b = n.op("Add", a, n.w([1, 3, 1, 1]))
    c = n.op("Relu", b)
    d = n.conv(c, 3, 2, k=1, bias=False)
    e = n.op("Add", n.w([2, 1, 1]), d)
    n.save("biases as Add of constants [1, C, 1, 1] and, on the left, [C, 1, 1]", e, show=[c])


def normalisation():
    n = Net("bn-after-conv", ("N", 3, 4, 4))
    a = n.bn(n.conv("image", 3, 3, bias=False, pads=[1, 1, 1, 1]), 3, epsilon=1e-3)
    b = n.op("Relu", a)
    c = n.bn(n.conv(b, 3, 4, k=1), 4)
    n.save("BatchNormalization after Conv without and with bias, epsilon 0.001 and default (1e-5)", c, show=[b])

    n = Net("bn-depthwise", ("N", 3, 4, 4))
    a = n.bn(n.conv("image", 3, 3, bias=False, group=3, pads=[1, 1, 1, 1]), 3, epsilon=1e-5, momentum=0.9, training_mode=0)
    n.save("BatchNormalization after depthwise Conv, momentum and training_mode given", a)

    n = Net("bn-standalone", ("N", 3, 4, 4))
    a = n.bn("image", 3)
    b = n.op("Relu", a)
    c = n.conv(b, 3, 2, pads=[1, 1, 1, 1])
    d = n.bn(n.op("Relu", c), 2)
    n.save("BatchNormalization that no Conv precedes (cannot be folded backwards; pads forbid folding forwards)", d, show=[a, b, c])

    n = Net("bn-two-readers", ("N", 3, 3, 4))
    a = n.conv("image", 3, 3, k=1)
    b = n.bn(a, 3)
    c = n.op("Add", a, b)
    n.save("BatchNormalization after a Conv whose output another node reads, too (must not be folded into it)", c, show=[a, b])

    n = Net("bn-opset8", (2, 3, 4, 4), opset=8)
    a = n.bn(n.conv("image", 3, 2, bias=False), 2, spatial=1)
    n.save("opset 8, IR 3: initialisers are graph inputs, too; BatchNormalization with `spatial`", a)

    n = Net("bn-as-mul-add", ("N", 3, 4, 4))
    a = n.conv("image", 3, 3, bias=False)
    b = n.op("Mul", a, n.w(0.5 + n.rng.random((3, 1, 1))))
    c = n.op("Add", b, n.w([1, 3, 1, 1]))
    n.save("BatchNormalization written as Mul and Add of constants after Conv", c, show=[b])

    n = Net("bn-opset9", (1, 3, 4, 4), opset=9)
    a = n.op("Relu", n.bn(n.conv("image", 3, 2), 2, epsilon=1e-4))
    n.save("opset 9, IR 4: BatchNormalization after Conv", a)


def activations():
    n = Net("relu", ("N", 3, 3, 4))
    a = n.op("Relu", n.conv("image", 3, 3, k=1))
    b = n.op("LeakyRelu", n.conv(a, 3, 3, k=1))
    c = n.op("LeakyRelu", n.conv(b, 3, 3, k=1), alpha=0.2)
    n.save("Relu, LeakyRelu with default alpha (0.01) and 0.2", c, show=[a, b])

    n = Net("prelu", ("N", 3, 3, 4))
    a = n.op("PRelu", n.conv("image", 3, 3, k=1), n.w(0.3 * n.rng.random((3, 1, 1))))
    b = n.op("PRelu", n.conv(a, 3, 2, k=1), n.w(np.array([0.1])))
    n.save("PRelu with a slope for each channel [C, 1, 1] and one for all", b, show=[a])

    n = Net("clip", ("N", 3, 3, 3))
    x = n.conv("image", 3, 4, k=1)
    x = n.op("Mul", x, n.w(np.float32(6)))
    low, high = n.w(np.float32(0)), n.w(np.float32(6))
    a = n.op("Clip", x, low, high)
    b = n.op("Clip", x, "", n.w(np.float32(1.5)))
    c = n.op("Clip", x, n.w(np.float32(-0.5)))
    d = n.op("Clip", x, op0(n, -1.0), op0(n, 1.0))
    y = n.op("Concat", a, b, c, d, axis=1)
    n.save("Clip with bounds as inputs: Relu6; max only (min ''); min only; from Constant nodes. Also Mul by a scalar", n.conv(y, 16, 2, k=1), show=[y])

    n = Net("clip-opset10", (1, 3, 3, 3), opset=10)
    a = n.op("Clip", n.conv("image", 3, 4, k=1), min=0.0, max=0.3)
    b = n.op("Clip", n.conv(a, 4, 4, k=1), min=0.0)
    n.save("opset 10: Clip with bounds as attributes, then min only", b, show=[a])

    n = Net("clip-opset8", (1, 3, 3, 3), opset=8)
    a = n.op("Clip", n.conv("image", 3, 3, k=1), min=0.0, max=6.0)
    n.save("opset 8, IR 3: Clip with attributes, initialisers among the graph inputs", a)

    n = Net("clip-opset11", (1, 3, 3, 3), opset=11)
    a = n.op("Clip", n.conv("image", 3, 3, k=1), op0(n, 0.0), op0(n, 6.0))
    n.save("opset 11: Clip with bounds from Constant nodes, as PyTorch writes Relu6", a)

    n = Net("min-max", ("N", 3, 3, 3))
    x = n.conv("image", 3, 3, k=1)
    a = n.op("Max", x, n.w(np.float32(0)))
    b = n.op("Min", a, n.w(np.float32(0.4)))
    n.save("Relu6-like bounds as Max and Min with constants; Sum of three", n.op("Sum", b, x, a), show=[b], status=OPTIONAL)

    n = Net("sigmoids", ("N", 3, 3, 3))
    x = n.op("Mul", n.conv("image", 3, 2, k=1), n.w(np.float32(4)))
    a = n.op("Sigmoid", x)
    b = n.op("HardSigmoid", x)
    c = n.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)
    d = n.op("HardSwish", x)
    e = n.op("Tanh", x)
    y = n.op("Concat", a, b, c, d, e, axis=1)
    n.save("Sigmoid, HardSigmoid default (0.2, 0.5) and 1/6, HardSwish, Tanh, joined by Concat", y)

    n = Net("swish", ("N", 3, 4, 4))
    x = n.conv("image", 3, 4, k=1)
    a = n.op("Mul", x, n.op("Sigmoid", x))
    x = n.bn(n.conv(a, 4, 4, k=1), 4)
    b = n.op("Mul", n.op("Sigmoid", x), x)
    n.save("Swish as x·Sigmoid(x), either order of the factors", b, show=[a])

    n = Net("hardswish-parts", (1, 3, 4, 4), opset=11)
    x = n.op("Mul", n.conv("image", 3, 3, k=1), n.w(np.float32(5)))
    y = n.op("Add", x, n.w(np.float32(3)))
    y = n.op("Clip", y, n.w(np.float32(0)), n.w(np.float32(6)))
    y = n.op("Mul", x, n.op("Div", y, n.w(np.float32(6))))
    n.save("opset 11: HardSwish as x·Clip(x + 3, 0, 6)/6", y, status=OPTIONAL)


def op0(n, value):
    """A scalar from a Constant node."""
    return n.op("Constant", value=numpy_helper.from_array(np.float32(value).reshape(())))


def gates():
    n = Net("squeeze-excite", ("N", 3, 4, 4))
    x = n.op("Relu", n.conv("image", 3, 4, k=1))
    g = n.op("GlobalAveragePool", x)
    g = n.op("Relu", n.conv(g, 4, 2, k=1))
    g = n.op("Sigmoid", n.conv(g, 2, 4, k=1), out="gate")
    y = n.op("Mul", x, g)
    y2 = n.conv(y, 4, 3, k=1)
    n.save("squeeze-excite: GlobalAveragePool, two 1×1 Convs, Sigmoid, Mul broadcast over rows and columns", y2, show=[x, g, y])

    n = Net("squeeze-excite-reducemean", ("N", 3, 4, 4))
    x = n.op("Relu", n.conv("image", 3, 4, k=1))
    g = n.op("ReduceMean", x, axes=[2, 3], keepdims=1)
    g = n.op("HardSigmoid", n.conv(g, 4, 4, k=1), alpha=1 / 6)
    y = n.op("Mul", g, x)
    n.save("squeeze-excite by ReduceMean (axes as attribute), HardSigmoid, the gate on the left of Mul", y, show=[x])

    n = Net("squeeze-excite-opset18", ("N", 3, 4, 4), opset=18)
    x = n.op("Relu", n.conv("image", 3, 4, k=1))
    g = n.op("ReduceMean", x, n.w(np.array([-1, -2]), np.int64), keepdims=1)
    y = n.op("Mul", x, n.op("Sigmoid", n.conv(g, 4, 4, k=1)))
    n.save("opset 18: ReduceMean with axes as input, negative", y, show=[x])

    n = Net("squeeze-excite-dense", ("N", 3, 4, 4))
    x = n.op("Relu", n.conv("image", 3, 4, k=1))
    g = n.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    g = n.op("Relu", n.op("Gemm", g, n.w([4, 2]), n.w([2])))
    g = n.op("Sigmoid", n.op("Gemm", g, n.w([2, 4]), n.w([4])))
    g = n.op("Unsqueeze", n.op("Unsqueeze", g, n.w(np.array([2]), np.int64)), n.w(np.array([3]), np.int64))
    y = n.op("Mul", x, g)
    n.save("squeeze-excite by ReduceMean keepdims 0, Gemms and Unsqueeze", y, status=OPTIONAL)


def pools():
    n = Net("maxpool", ("N", 3, 7, 7))
    a = n.op("MaxPool", "image", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    x = n.op("Sub", a, n.w(np.float32(2)), out="below_zero")
    b = n.op("MaxPool", x, kernel_shape=[2, 3], strides=[1, 1], pads=[0, 1, 1, 0])
    n.save("MaxPool 3×3 stride 2 pads 1; an oblong one over values below zero (pads are no zeros)", b, show=[a])

    n = Net("maxpool-ceil", ("N", 3, 6, 6))
    a = n.op("MaxPool", "image", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    n.save("MaxPool 3×3 stride 2 ceil_mode 1: 6 → 3", a)

    n = Net("maxpool-ceil-pads", ("N", 3, 5, 7))
    a = n.op("MaxPool", "image", kernel_shape=[3, 2], strides=[3, 3], pads=[1, 0, 1, 0], ceil_mode=1)
    a = helper.make_tensor_value_info(a, T.FLOAT, ("N", 3, "rows", 3))
    n.save("MaxPool ceil_mode 1 with pads; a last row of windows that would begin in the pads is left out: 5 rows → 2 (onnxruntime and PyTorch; onnx's shape inference says 3)", a)

    n = Net("maxpool-dilated", ("N", 3, 6, 6))
    a = n.op("MaxPool", "image", kernel_shape=[2, 2], dilations=[2, 2], storage_order=0)
    n.save("MaxPool with dilations, default strides (1)", a, status=OPTIONAL)

    for include in (0, 1):
        n = Net(f"avgpool-include-pad-{include}", ("N", 3, 5, 5))
        more = {"count_include_pad": 1} if include else {}
        a = n.op("AveragePool", "image", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1], **more)
        b = n.op("AveragePool", a, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1], **more)
        n.save(f"AveragePool with pads, count_include_pad {include}" + ("" if include else " (default)"), b, show=[a])

    n = Net("avgpool-ceil", ("N", 3, 6, 6), opset=21)
    a = n.op("AveragePool", "image", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    n.save("opset 21: AveragePool ceil_mode 1, whose last windows overhang", a, status=OPTIONAL)

    n = Net("avgpool-same", ("N", 3, 5, 5))
    a = n.op("AveragePool", "image", kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER")
    n.save("AveragePool auto_pad SAME_UPPER", a)

    n = Net("global-pools", ("N", 3, 4, 5))
    a = n.op("GlobalAveragePool", "image")
    b = n.op("GlobalMaxPool", "image")
    c = n.op("Concat", a, b, axis=1)
    n.save("GlobalAveragePool and GlobalMaxPool", c, status=OPTIONAL)


def graphs():
    n = Net("residual", ("N", 3, 4, 4))
    x = n.op("Relu", n.conv("image", 3, 3, pads=[1, 1, 1, 1]))
    y = n.op("Relu", n.conv(x, 3, 3, pads=[1, 1, 1, 1]))
    y = n.op("Relu", n.op("Add", n.conv(y, 3, 3, pads=[1, 1, 1, 1]), x), out="block1")
    n.save("residual block with identity", n.fc(y, 3, 3), show=[x, y])

    n = Net("residual-projection", ("N", 3, 6, 6))
    x = n.op("Relu", n.conv("image", 3, 2, pads=[1, 1, 1, 1]))
    y = n.op("Relu", n.bn(n.conv(x, 2, 4, bias=False, strides=[2, 2], pads=[1, 1, 1, 1]), 4))
    y = n.bn(n.conv(y, 4, 4, bias=False, pads=[1, 1, 1, 1]), 4)
    s = n.bn(n.conv(x, 2, 4, k=1, bias=False, strides=[2, 2]), 4)
    y = n.op("Relu", n.op("Add", y, s), out="block1")
    n.save("residual block with 1×1 stride-2 projection, BatchNormalization kept, as ResNet's", y, show=[x])

    n = Net("residual-preactivation", ("N", 3, 4, 4))
    x = n.conv("image", 3, 3, k=1)
    y = n.conv(n.op("Relu", n.bn(x, 3)), 3, 3, pads=[1, 1, 1, 1])
    y = n.op("Add", x, y)
    z = n.conv(n.op("Relu", n.bn(y, 3)), 3, 3, pads=[1, 1, 1, 1])
    z = n.op("Add", y, z)
    n.save("pre-activation residual blocks (BatchNormalization, Relu, Conv; then Add)", z, show=[x, y])

    n = Net("inverted-residual", ("N", 3, 4, 4))
    x = n.conv("image", 3, 2, k=1)
    low, high = n.w(np.float32(0)), n.w(np.float32(6))
    y = n.op("Clip", n.conv(x, 2, 6, k=1), low, high)
    y = n.op("Clip", n.conv(y, 6, 6, group=6, pads=[1, 1, 1, 1]), low, high)
    y = n.op("Add", x, n.conv(y, 6, 2, k=1))
    n.save("MobileNetV2's block: expansion, depthwise, linear projection, Add", y, show=[x])

    n = Net("inception", ("N", 3, 4, 4))
    a = n.op("Relu", n.conv("image", 3, 2, k=1))
    b = n.op("Relu", n.conv(n.op("Relu", n.conv("image", 3, 2, k=1)), 2, 3, pads=[1, 1, 1, 1]))
    c = n.op("MaxPool", "image", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[1, 1])
    c = n.op("Relu", n.conv(c, 3, 2, k=1))
    y = n.op("Concat", a, b, c, axis=1)
    z = n.conv(y, 7, 2, k=1)
    n.save("Inception-like block: three branches from the image joined by Concat", z, show=[y])

    n = Net("concat-dense", ("N", 3, 4, 4))
    a = n.op("Relu", n.conv("image", 3, 2, k=1))
    b = n.op("Relu", n.conv(a, 2, 2, pads=[1, 1, 1, 1]))
    c = n.op("Concat", a, b, axis=-3)
    d = n.op("Concat", c, n.conv(c, 4, 2, k=1), axis=1)
    n.save("DenseNet-like: Concat (axis -3) of a tensor and what was computed from it, twice", d, show=[c])

    n = Net("shuffle", ("N", 3, 4, 4))
    x = n.conv("image", 3, 4, k=1)
    y = n.op("Reshape", x, n.w(np.array([-1, 2, 2, 4, 4]), np.int64))
    y = n.op("Transpose", y, perm=[0, 2, 1, 3, 4])
    y = n.op("Reshape", y, n.w(np.array([-1, 4, 4, 4]), np.int64))
    a, b = n.op("Split", y, n.w(np.array([2, 2]), np.int64), outs=2, axis=1)
    y = n.op("Concat", b, n.conv(a, 2, 2, k=1), axis=1)
    n.save("ShuffleNet's channel shuffle (Reshape, Transpose, Reshape), Split, Concat", y, status=OPTIONAL)

    n = Net("slice-channels", ("N", 3, 4, 4))
    x = n.conv("image", 3, 4, k=1)
    i = lambda *v: n.w(np.array(v), np.int64)
    a = n.op("Slice", x, i(0), i(2), i(1))
    b = n.op("Slice", x, i(2), i(2**63 - 1), i(1), i(1))
    y = n.op("Concat", b, n.op("Relu", a), axis=1)
    n.save("Slice of channels, one with end 2^63 - 1", y, status=OPTIONAL)

    n = Net("dead-branch", ("N", 3, 4, 4))
    x = n.op("Relu", n.conv("image", 3, 2, k=1))
    n.op("Sigmoid", n.conv(x, 2, 2, k=1))
    n.w([5, 5])
    n.save("nodes and an initialiser that no output needs", n.conv(x, 2, 2, k=1), show=[x])

    n = Net("two-outputs", ("N", 3, 4, 4))
    x = n.op("Relu", n.conv("image", 3, 2, k=1), out="features")
    n.save("two graph outputs, the first an inner tensor", x, n.fc(x, 2, 2), status=OPTIONAL)

    n = Net("shared-weights", ("N", 3, 3, 3))
    w = n.w([3, 3, 1, 1])
    x = n.op("Relu", n.op("Conv", "image", w))
    y = n.op("Conv", x, w)
    n.save("two Convs with the same initialiser (parameters counted once or twice; MACs twice)", y, show=[x])

    n = Net("names", ("N", 3, 3, 3), image="input.1")
    x = n.conv("input.1", 3, 2, k=1, out="/features/0/Conv:0")
    y = n.op("Relu", x, out="größe 1")
    z = n.conv(y, 2, 2, k=1)
    for number, node in enumerate(n.nodes):
        node.name = f"/features/{number}"
    n.save("tensor names with slashes, colons, spaces, non-ASCII; input called input.1; only here nodes have names", z, show=[x, y])

    n = Net("vgg", ("N", 3, 8, 8))
    x = n.op("Relu", n.conv("image", 3, 3, pads=[1, 1, 1, 1]))
    x = n.op("Relu", n.conv(x, 3, 3, pads=[1, 1, 1, 1]))
    p = n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    y = n.op("Relu", n.conv(p, 3, 4, pads=[1, 1, 1, 1]))
    q = n.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    f = n.op("Flatten", q, axis=1)
    h = n.op("Relu", n.op("Gemm", f, n.w([5, 16]), n.w([5]), transB=1))
    h = n.op("Gemm", n.op("Dropout", h), n.w([3, 5]), n.w([3]), transB=1)
    n.save("a whole VGG-like net", n.op("Softmax", h, axis=-1), show=[p, q])


def padding():
    n = Net("pad", ("N", 3, 4, 4))
    a = n.op("Pad", "image", n.w(np.array([0, 0, 0, 1, 0, 0, 1, 0]), np.int64))
    b = n.op("Pad", n.conv(a, 3, 2, k=1), n.w(np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.int64), n.w(np.float32(0)), mode="constant")
    n.save("Pad with constant 0 before Conv and MaxPool", n.op("MaxPool", b, kernel_shape=[2, 2], strides=[2, 2]), show=[a, b])

    n = Net("pad-value", ("N", 3, 4, 4))
    a = n.op("Pad", "image", n.w(np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.int64), n.w(np.float32(0.5)))
    n.save("Pad with a constant other than 0 before Conv (cannot become its pads)", n.conv(a, 3, 2), show=[a], status=OPTIONAL)

    n = Net("pad-opset10", (1, 3, 4, 4), opset=10)
    a = n.op("Pad", "image", pads=[0, 0, 1, 1, 0, 0, 0, 0], mode="constant", value=0.0)
    n.save("opset 10: Pad with attributes", n.conv(a, 3, 2))

    n = Net("pad-crop", ("N", 3, 5, 5))
    a = n.op("Pad", n.conv("image", 3, 2, k=1), n.w(np.array([0, 0, -1, 0, 0, 0, 0, -1]), np.int64))
    n.save("Pad with negative pads (a crop)", a, status=OPTIONAL)

    n = Net("pad-reflect", ("N", 3, 4, 4))
    a = n.op("Pad", "image", n.w(np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.int64), mode="reflect")
    n.save("Pad by reflection", n.conv(a, 3, 2), status=OPTIONAL)

    n = Net("pad-opset21", ("N", 3, 4, 4), opset=21)
    a = n.op("Pad", "image", n.w(np.array([1, 0, 1, 2]), np.int64), "", n.w(np.array([2, 3]), np.int64))
    n.save("opset 21: Pad with axes as fourth input", n.conv(a, 3, 2), status=OPTIONAL)


    # PyTorch's F.pad and nn.ZeroPad2d by torch.onnx.export(dynamo=False): the pads, last axis first, are turned around by
    # nodes, which constant folding leaves as they are (torch 2.15).
    for folded in (True, False):
        n = Net("pad-pytorch" + ("" if folded else "-unfolded"), ("N", 3, 4, 4))
        i = lambda v: n.op("Constant", value=numpy_helper.from_array(np.array(v, np.int64)))
        pads = i([0, 1, 0, 1])
        if folded:
            rest = i([4])
        else:
            length = n.op("Gather", n.op("Shape", pads), i([0]), axis=0)
            rest = n.op("Sub", n.op("Mul", i(4), i(2)), length)
            pads = n.op("Cast", pads, to=T.INT64)
        zeros = n.op("ConstantOfShape", rest, value=numpy_helper.from_array(np.array([0], np.int64)))
        x = n.op("Reshape", n.op("Concat", pads, zeros, axis=0), i([-1, 2]), allowzero=0)
        x = n.op("Slice", x, i([-1]), i([-(2**63) + 1]), i([0]), i([-1]))
        x = n.op("Reshape", n.op("Transpose", x, perm=[1, 0]), i([-1]), allowzero=0)
        x = n.op("Pad", "image", n.op("Cast", x, to=T.INT64), op0(n, 0.0), mode="constant")
        y = helper.make_tensor_value_info(n.conv(x, 3, 2, strides=[2, 2], pads=[0, 0, 0, 0]), T.FLOAT, ("N", 2, 2, 2))
        n.save("PyTorch's ZeroPad2d before a stride-2 Conv (EfficientNet-Lite's SAME): pads computed from constants by "
               + ("ConstantOfShape, Concat, Reshape, Slice backwards, Transpose, Cast" if folded else
                  "the same and Shape, Gather, Mul, Sub (exported without constant folding)"), y, show=[x])


def heads():
    n = Net("flatten-gemm", ("N", 3, 2, 2))
    x = n.conv("image", 3, 2, k=1)
    f = n.op("Flatten", x)
    a = n.op("Gemm", f, n.w([8, 4]), n.w([4]))
    b = n.op("Gemm", a, n.w([3, 4]), n.w([3]), transB=1, alpha=0.5, beta=2.0)
    c = n.op("Gemm", b, n.w([3, 2]))
    n.save("Flatten; Gemm with transB 0, with transB 1, alpha and beta, without bias", c, show=[x, a, b], at=[2, 3, 2, 2])

    n = Net("matmul-add", ("N", 3, 2, 2), opset=13)
    f = n.op("Flatten", n.conv("image", 3, 2, k=1))
    y = n.op("Add", n.op("MatMul", f, n.w([8, 3])), n.w([3]))
    n.save("opset 13: a layer as MatMul and Add", y, at=[2, 3, 2, 2])

    n = Net("reshape-gemm", (1, 3, 2, 2))
    x = n.conv("image", 3, 2, k=1)
    f = n.op("Reshape", x, n.w(np.array([1, 8]), np.int64))
    y = n.op("Gemm", f, n.w([3, 8]), n.w([3]), transB=1)
    n.save("Reshape to a fixed [1, 8] where the batch is fixed at 1", y)

    n = Net("reshape-0-1", ("N", 3, 2, 2))
    f = n.op("Reshape", n.conv("image", 3, 2, k=1), n.w(np.array([0, -1]), np.int64))
    n.save("Reshape to [0, -1] (0 copies a dimension)", n.op("Gemm", f, n.w([8, 3])), at=[2, 3, 2, 2])

    n = Net("reshape-shape", ("N", 3, 2, 2), opset=11)
    x = n.conv("image", 3, 2, k=1)
    s = n.op("Gather", n.op("Shape", x), n.w(np.int64(0)), axis=0)
    s = n.op("Concat", n.op("Unsqueeze", s, axes=[0]), n.op("Constant", value=numpy_helper.from_array(np.array([-1], np.int64))), axis=0)
    y = n.op("Gemm", n.op("Reshape", x, s), n.w([3, 8]), n.w([3]), transB=1)
    n.save("opset 11: PyTorch's x.view(x.size(0), -1) as Shape, Gather, Unsqueeze, Concat, Reshape",
           helper.make_tensor_value_info(y, T.FLOAT, ("N", 3)), show=[x], at=[2, 3, 2, 2])

    n = Net("mean-squeeze", ("N", 3, 3, 3), opset=13)
    x = n.conv("image", 3, 4, k=1)
    g = n.op("Squeeze", n.op("GlobalAveragePool", x), n.w(np.array([2, 3]), np.int64))
    n.save("opset 13: GlobalAveragePool and Squeeze before the layer (Keras)", n.op("Gemm", g, n.w([4, 2])), show=[x], at=[2, 3, 3, 3])

    n = Net("flatten-tf2onnx", ("N", 2, 2, 3), opset=13)
    x = n.conv(n.op("Transpose", "image", perm=[0, 3, 1, 2]), 3, 2, k=1)
    y = n.op("Transpose", x, perm=[0, 2, 3, 1])
    s = n.op("Gather", n.op("Shape", x), n.w(np.array([0, 2, 3, 1]), np.int64))
    zero = n.w(np.array([0]), np.int64)
    s = n.op("Slice", n.op("Cast", s, to=T.INT32), zero, n.w(np.array([1]), np.int64), zero)
    s = n.op("Cast", n.op("Concat", s, n.w(np.array([8]), np.int32), axis=0), to=T.INT64)
    y = n.op("MatMul", n.op("Reshape", y, s), n.w([8, 3]))
    y = n.op("Add", n.op("Mul", y, n.w([3])), n.w([3]))
    n.save("Keras's Flatten as tf2onnx writes it: Transpose to NHWC; the shape by Shape, Gather, Cast, Slice, Concat",
           helper.make_tensor_value_info(y, T.FLOAT, ("M", 3)), show=[x], at=[2, 2, 2, 3])

    n = Net("conv-head", ("N", 3, 3, 3))
    x = n.op("Relu", n.conv("image", 3, 4, k=1))
    y = n.op("Flatten", n.op("GlobalAveragePool", n.conv(x, 4, 3, k=1)))
    n.save("SqueezeNet-like head: 1×1 Conv, GlobalAveragePool, Flatten", n.op("Softmax", y), show=[x])

    n = Net("mean-reshape-opset20", ("N", 3, 3, 3), opset=20)
    x = n.op("Relu", n.conv("image", 3, 4, k=1))
    g = n.op("ReduceMean", x, n.w(np.array([-1, -2]), np.int64), keepdims=1, noop_with_empty_axes=0)
    g = n.op("Reshape", g, n.w(np.array([-1, 4]), np.int64), allowzero=1)
    n.save("opset 20: PyTorch 2.15's exporter's head: ReduceMean, Reshape allowzero 1, Gemm", n.op("Gemm", g, n.w([2, 4]), n.w([2]), transB=1),
           show=[x], at=[2, 3, 3, 3])

    n = Net("dropout", ("N", 3, 3, 3))
    a = n.op("Dropout", n.conv("image", 3, 3, k=1), n.w(np.float32(0.5)), n.w(np.array(False)))
    a = n.op("Identity", a)
    b = n.op("Dropout", n.op("Relu", a), outs=2)[0]
    n.save("Dropout with ratio and training_mode inputs, Identity, Dropout with a mask that is not read", n.conv(b, 3, 2, k=1), show=[b])

    n = Net("dropout-opset10", (1, 3, 3, 3), opset=10)
    a = n.op("Dropout", n.op("Relu", n.conv("image", 3, 3, k=1)), ratio=0.3)
    n.save("opset 10: Dropout with ratio as attribute", n.conv(a, 3, 2, k=1))


def weights():
    n = Net("constant-weights", ("N", 3, 3, 3))
    w = n.op("Constant", value=numpy_helper.from_array(n.normal(2, 3, 2, 2)))
    b = n.op("Constant", value_floats=[0.25, -0.5])
    x = n.op("Conv", "image", w, b)
    y = n.op("Mul", x, n.op("Constant", value_float=2.0))
    n.save("weights from Constant nodes: value, value_floats, value_float", y, show=[x])

    n = Net("identity-weights", ("N", 3, 3, 3))
    w = n.op("Identity", n.w([2, 3, 1, 1]))
    n.save("a weight through Identity (PyTorch writes it for shared tensors)", n.op("Conv", "image", w), show=[])

    n = Net("float-data", ("N", 3, 3, 3), opset=13)
    w, b = n.w([2, 3, 2, 2], form="list"), n.w([2], form="list")
    x = n.op("Conv", "image", w, b)
    s = n.w(np.array([-1, 8]), np.int64, form="list")
    n.save("opset 13: initialisers as float_data and int64_data, not raw_data", n.op("Gemm", n.op("Reshape", x, s), n.w([8, 2])), show=[x])

    n = Net("f16-cast", ("N", 3, 3, 3))
    w, b = n.op("Cast", n.w([3, 3, 2, 2], np.float16), to=T.FLOAT), n.op("Cast", n.w([3], np.float16, form="list"), to=T.FLOAT)
    n.save("float16 initialisers (raw_data; int32_data), each through Cast to float32", n.op("Relu", n.op("Conv", "image", w, b)))

    n = Net("f16-inside", ("N", 3, 3, 3))
    x = n.op("Cast", "image", to=T.FLOAT16)
    x = n.op("Conv", x, n.w([3, 3, 2, 2], np.float16), n.w([3], np.float16))
    x = n.op("Cast", n.op("Relu", x), to=T.FLOAT)
    n.save("float16 within: the image is cast to it, the output back (compare to 2e-3)", x)

    n = Net("f16", ("N", 3, 3, 3), dtype=T.FLOAT16)
    x = n.op("Relu", n.op("Conv", "image", n.w([3, 3, 2, 2], np.float16), n.w([3], np.float16)))
    image = n.rng.random((1, 3, 3, 3)).astype(np.float16)
    n.save("float16 throughout, input and output, too (compare to 2e-3)", x, dtype=T.FLOAT16, input=image)


def inputs():
    n = Net("nhwc", ("N", 4, 5, 3))
    x = n.op("Transpose", "image", perm=[0, 3, 1, 2])
    x = n.op("Relu", n.conv(x, 3, 2, pads=[1, 1, 1, 1]))
    n.save("NHWC input that a Transpose makes NCHW", n.fc(x, 2, 2), show=[x])

    n = Net("nhwc-late", ("N", 4, 4, 3))
    x = n.op("Sub", "image", n.w(np.array([0.485, 0.456, 0.406])))
    x = n.op("Div", x, n.w(np.array([0.229, 0.224, 0.225])))
    x = n.op("Transpose", x, perm=[0, 3, 1, 2])
    x = n.op("Relu", n.conv(x, 3, 2))
    y = n.op("Transpose", x, perm=[0, 2, 3, 1])
    n.save("NHWC input, constants [3] before the Transpose; NHWC output", y, show=[x])

    n = Net("preprocess", ("N", 3, 4, 4))
    x = n.op("Sub", "image", n.w(np.array([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1)))
    x = n.op("Div", x, n.w(np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)))
    n.save("Sub and Div of constants before the first Conv, which has pads", n.conv(x, 3, 2, pads=[1, 1, 1, 1]), show=[x])

    n = Net("preprocess-255", ("N", 3, 4, 4))
    x = n.op("Mul", "image", n.w(np.float32(1 / 127.5)))
    x = n.op("Sub", x, n.w(np.float32(1)))
    image = n.rng.integers(0, 256, (1, 3, 4, 4)).astype(np.float32)
    n.save("pixels 0 to 255, Mul and Sub of scalars", n.conv(x, 3, 2, pads=[1, 1, 1, 1]), show=[x], input=image)

    n = Net("preprocess-bgr", ("N", 3, 4, 4))
    x = n.op("Gather", "image", n.w(np.array([2, 1, 0]), np.int64), axis=1)
    x = n.op("Sub", x, n.w(np.array([0.4, 0.45, 0.5]).reshape(1, 3, 1, 1)))
    n.save("red and blue exchanged by Gather, then a mean", n.conv(x, 3, 2), show=[x], status=OPTIONAL)

    n = Net("uint8", ("N", 3, 4, 4), dtype=T.UINT8)
    x = n.op("Cast", "image", to=T.FLOAT)
    x = n.op("Div", x, n.w(np.float32(255)))
    image = n.rng.integers(0, 256, (1, 3, 4, 4)).astype(np.uint8)
    n.save("uint8 image, Cast and Div by 255 (the recorded input is float32)", n.conv(x, 3, 2), input=image, status=OPTIONAL)

    n = Net("dynamic-batch", ("batch_size", 3, 4, 4))
    x = n.op("Relu", n.conv("image", 3, 2))
    n.save("dynamic batch, evaluated at 3", n.fc(x, 2, 2), show=[x], at=[3, 3, 4, 4])

    n = Net("dynamic-size", ("N", 3, "height", "width"))
    x = n.op("Relu", n.conv("image", 3, 2, strides=[2, 2], pads=[1, 1, 1, 1]))
    n.save("dynamic batch, rows and columns, evaluated at 2×3×6×5", n.fc(x, 2, 2), show=[x], at=[2, 3, 6, 5])

    n = Net("dynamic-unnamed", (None, 3, None, None))
    x = n.op("Relu", n.conv("image", 3, 2))
    n.save("dimensions with neither value nor name", n.fc(x, 2, 2), show=[x], at=[1, 3, 5, 4])

    n = Net("gray", ("N", 1, 5, 5))
    n.save("an image of one channel", n.conv("image", 1, 2), status=OPTIONAL)

    n = Net("fixed-batch-4", (4, 3, 3, 3))
    n.save("batch fixed at 4", n.conv("image", 3, 2, k=1), status=OPTIONAL)

    n = Net("opset21", ("N", 3, 4, 4), opset=21)
    x = n.op("Relu", n.bn(n.conv("image", 3, 3, bias=False, pads=[1, 1, 1, 1]), 3))
    x = n.op("Clip", n.conv(x, 3, 3, k=1), n.w(np.float32(0)), n.w(np.float32(6)))
    x = n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    n.save("opset 21, IR 10: Conv, BatchNormalization, Clip, MaxPool, a head", n.fc(x, 3, 2), show=[x])

    n = Net("opset11", (1, 3, 4, 4), opset=11)
    x = n.op("Relu", n.bn(n.conv("image", 3, 3, bias=False, pads=[1, 1, 1, 1]), 3))
    x = n.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    n.save("opset 11, IR 6: Conv, BatchNormalization, ReduceMean, Gemm", n.op("Gemm", x, n.w([2, 3]), n.w([2]), transB=1))

    n = Net("opset13", ("N", 3, 4, 4), opset=13)
    x = n.op("Relu", n.conv("image", 3, 2))
    x = n.op("Reshape", n.op("GlobalAveragePool", x), n.w(np.array([-1, 2]), np.int64))
    n.save("opset 13, IR 7: Conv, GlobalAveragePool, Reshape, Gemm", n.op("Gemm", x, n.w([2, 2]), n.w([2]), transB=1))

    n = Net("function", ("N", 3, 3, 3))
    x = n.conv("image", 3, 2, k=1)
    silu = helper.make_function("local", "Silu", ["x"], ["y"],
                                [helper.make_node("Sigmoid", ["x"], ["s"]), helper.make_node("Mul", ["x", "s"], ["y"])],
                                [helper.make_opsetid("", 17)])
    n.save("a function of the model's own (Silu)", n.op("Silu", x, domain="local"), status=OPTIONAL, functions=[silu], domains=["local"])


def refused():
    n = Net("bad-resize", ("N", 3, 4, 4))
    x = n.op("Resize", n.conv("image", 3, 2, k=1), "", n.w(np.array([1, 1, 2, 2]), np.float32), mode="nearest")
    n.refuse("an operator outside the subset, in the middle: Resize", n.conv(x, 2, 2, k=1))

    n = Net("bad-transposed", ("N", 3, 4, 4))
    n.refuse("an operator outside the subset, in the middle: ConvTranspose", n.op("ConvTranspose", "image", n.w([3, 2, 2, 2]), strides=[2, 2]))

    n = Net("bad-lstm", ("T", "N", 2))
    y = n.op("LSTM", "image", n.w([1, 4, 2]), n.w([1, 4, 1]), outs=3, hidden_size=1)[0]
    n.refuse("LSTM, no image", y)

    n = Net("bad-two-inputs", ("N", 3, 4, 4))
    n.inputs.append(helper.make_tensor_value_info("other", T.FLOAT, ("N", 3, 4, 4)))
    n.refuse("two graph inputs that are no initialisers", n.conv(n.op("Add", "image", "other"), 3, 2))

    n = Net("bad-no-input", ("N", 3, 4, 4))
    n.inputs = []
    n.refuse("no graph input", n.op("Relu", n.w([1, 3, 2, 2])))

    def branch(kind, name):
        node = helper.make_node(kind, ["image"], [name])
        return helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, T.FLOAT, None)])

    n = Net("bad-if", ("N", 3, 4, 4))
    y = n.op("If", n.w(np.array(True)), then_branch=branch("Relu", "a"), else_branch=branch("Tanh", "b"))
    n.refuse("If with two subgraphs", n.conv(y, 3, 2), check=False)

    inner = branch("Relu", "deep")
    for depth in range(8):
        name = f"d{depth}"
        node = helper.make_node("If", ["c"], [name], then_branch=inner, else_branch=branch("Tanh", f"e{depth}")) if depth == 0 \
            else helper.make_node("If", ["c"], [name], then_branch=inner)
        inner = helper.make_graph([node], name, [], [helper.make_tensor_value_info(name, T.FLOAT, None)])
    n = Net("bad-nested", ("N", 3, 4, 4))
    y = n.op("If", n.w(np.array(True)), then_branch=inner)
    n.refuse("If within If, eight deep (a recursive reader's stack)", y, check=False)

    # Messages nested 750 deep: more than onnx itself reads. NodeProto.attribute 5, AttributeProto.g 6, GraphProto.node 1.
    data = b""
    for level in range(250):
        for field in (1, 6, 5):
            data = bytes([field << 3 | 2]) + varint(len(data)) + data
    graph = b"\x0a" + varint(len(data)) + data
    write("bad-nested-750", b"\x08\x08\x3a" + varint(len(graph)) + graph, "protobuf messages nested 750 deep", REFUSED)

    n = Net("bad-recursive-function", ("N", 3, 3, 3))
    f = helper.make_function("local", "F", ["x"], ["y"], [helper.make_node("F", ["x"], ["y"], domain="local")],
                             [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)])
    n.refuse("a function that calls itself", n.op("F", "image", domain="local"), check=False, functions=[f], domains=["local"])

    n = Net("bad-cycle", ("N", 3, 3, 3))
    n.op("Add", "image", "b", out="a")
    n.op("Relu", "a", out="b")
    n.refuse("a cycle: two nodes that read each other's outputs", n.conv("b", 3, 2, k=1), check=False)

    n = Net("bad-self", ("N", 3, 3, 3))
    n.op("Add", "image", "a", out="a")
    n.refuse("a node that reads its own output", "a", check=False)

    n = Net("order", ("N", 3, 3, 3))
    x = n.op("Relu", "image")
    n.conv(x, 3, 2, k=1, out="y")
    n.nodes.reverse()
    n.refuse("nodes that aren't in topological order (invalid, though computable)", "y", check=False, status=OPTIONAL)

    n = Net("bad-duplicate", ("N", 3, 3, 3))
    n.op("Relu", "image", out="a")
    n.op("Tanh", "image", out="a")
    n.refuse("two nodes with the same output name", "a", check=False)

    n = Net("bad-missing-tensor", ("N", 3, 3, 3))
    n.refuse("a weight that isn't in the file", n.op("Conv", "image", "nowhere"), check=False)

    n = Net("bad-missing-output", ("N", 3, 3, 3))
    n.conv("image", 3, 2, k=1)
    n.refuse("a graph output that no node computes", "nowhere", check=False)

    n = Net("bad-channels", ("N", 3, 3, 3))
    n.refuse("Conv whose weights are for 4 channels, of an image of 3", n.conv("image", 4, 2, k=1), check=False)

    n = Net("bad-groups", ("N", 3, 3, 3))
    n.refuse("Conv of two groups, of three channels", n.op("Conv", "image", n.w([2, 1, 1, 1]), group=2), check=False)

    n = Net("bad-group-0", ("N", 3, 3, 3))
    n.refuse("Conv with group 0", n.op("Conv", "image", n.w([2, 3, 1, 1]), group=0), check=False)

    n = Net("bad-stride-0", ("N", 3, 3, 3))
    n.refuse("Conv with stride 0", n.op("Conv", "image", n.w([2, 3, 1, 1]), strides=[0, 1]), check=False)

    n = Net("bad-kernel", ("N", 3, 3, 3))
    n.refuse("Conv whose kernel is wider than the padded image", n.op("Conv", "image", n.w([1, 3, 4, 4])), check=False)

    n = Net("bad-kernel-shape", ("N", 3, 6, 6))
    n.refuse("kernel_shape that isn't the weights'", n.op("Conv", "image", n.w([2, 3, 3, 3]), kernel_shape=[5, 5]), check=False)

    n = Net("bad-pads", ("N", 3, 3, 3))
    n.refuse("Conv with pads near 2^62 (overflow)", n.op("Conv", "image", n.w([2, 3, 1, 1]), pads=[2**62] * 4), check=False)

    n = Net("bad-add", ("N", 3, 3, 3))
    n.refuse("Add of tensors of different rows and columns", n.op("Add", n.conv("image", 3, 2, k=1), n.conv("image", 3, 2, k=2)), check=False)

    n = Net("bad-concat", ("N", 3, 3, 3))
    n.refuse("Concat over rows", n.op("Concat", "image", n.conv("image", 3, 3, k=1), axis=2))

    n = Net("bad-conv1d", ("N", 3, 8))
    n.refuse("one-dimensional Conv, rank-3 input", n.op("Conv", "image", n.w([2, 3, 3])))

    n = Net("bad-conv3d", ("N", 3, 3, 3, 3))
    n.refuse("three-dimensional Conv", n.op("Conv", "image", n.w([2, 3, 1, 1, 1])))

    n = Net("dynamic-channels", ("N", "C", 4, 4))
    n.refuse("dynamic number of channels", n.op("GlobalAveragePool", "image"), status=OPTIONAL)

    n = Net("no-shape", None)
    n.refuse("an input without shape", n.conv("image", 3, 2, k=1), check=False, status=OPTIONAL)

    n = Net("bad-domain", ("N", 3, 3, 3))
    y = n.op("FusedConv", "image", n.w([2, 3, 1, 1]), domain="com.microsoft", activation="Relu")
    n.refuse("an operator of another domain: com.microsoft.FusedConv", y, check=False, domains=["com.microsoft"])

    n = Net("bad-quantised", ("N", 3, 3, 3))
    s, z = n.w(np.float32(0.01)), n.w(np.array(0), np.int8)
    x = n.op("DequantizeLinear", n.op("QuantizeLinear", "image", s, z), s, z)
    w = n.op("DequantizeLinear", n.w(n.rng.integers(-9, 9, (2, 3, 1, 1)), np.int8), s, z)
    n.refuse("quantised: QuantizeLinear, DequantizeLinear, int8 weights", n.op("Conv", x, w))

    n = Net("double", ("N", 3, 3, 3), dtype=T.DOUBLE)
    n.refuse("float64 input and weights", n.op("Conv", "image", n.w([2, 3, 1, 1], np.float64)), dtype=T.DOUBLE, status=OPTIONAL)

    n = Net("bad-computed-weights", ("N", 3, 3, 3))
    w = n.op("Reshape", n.op("GlobalAveragePool", "image"), n.w(np.array([1, 3, 1, 1]), np.int64))
    n.refuse("Conv whose weights are computed from the image", n.op("Conv", "image", w))

    n = Net("bad-training", ("N", 3, 3, 3))
    x = n.conv("image", 3, 2, k=1)
    c = [n.w(np.ones(2)) for _ in range(4)]
    n.refuse("BatchNormalization in training mode", n.op("BatchNormalization", x, *c, outs=3, training_mode=1)[0])

    n = Net("bad-nan", ("N", 3, 3, 3))
    n.refuse("a weight that isn't a number", n.op("Conv", "image", n.w(np.full((2, 3, 1, 1), np.nan))))

    n = Net("bad-variance", ("N", 3, 3, 3))
    c = [n.w(np.ones(3)) for _ in range(3)]
    n.refuse("BatchNormalization with a negative variance", n.op("BatchNormalization", "image", *c, n.w(np.full(3, -1.0))))

    n = Net("bad-opset", ("N", 3, 3, 3), opset=99)
    n.refuse("opset 99", n.conv("image", 3, 2, k=1), check=False)

    n = Net("bad-no-opset", ("N", 3, 3, 3))
    model = n.model([n.conv("image", 3, 2, k=1)])
    model.ClearField("opset_import")
    write(n.name, model.SerializeToString(deterministic=True), "no opset_import", REFUSED)

    def with_tensor(name, note, change):
        n = Net(name, ("N", 3, 3, 3))
        model = n.model([n.conv("image", 3, 2, k=1, bias=False)])
        change(model.graph.initializer[0])
        write(name, model.SerializeToString(deterministic=True), note, REFUSED)
        return model

    def set_dims(tensor, *dims):
        tensor.ClearField("dims")
        tensor.dims.extend(dims)

    with_tensor("bad-raw-length", "an initialiser with fewer bytes than its shape says", lambda t: set_dims(t, 2, 3, 2, 2))
    with_tensor("bad-huge", "an initialiser of shape [2^40, 2^40] (product overflows)", lambda t: set_dims(t, 2**40, 2**40, 1, 1))
    with_tensor("bad-negative", "an initialiser with a negative dimension", lambda t: set_dims(t, -2, 3, 1, 1))

    def external(path):
        def change(t):
            t.ClearField("raw_data")
            t.data_location = T.EXTERNAL
            for key, value in (("location", path), ("offset", "0"), ("length", "24")):
                t.external_data.add(key=key, value=value)
        return change

    data = Net("external", None).normal(6).tobytes()
    with_tensor("external", "weights in another file, external.data", external("external.data"))
    write("external", data, "the weights of external.onnx", REFUSED, ".data")
    with_tensor("external-outside", "weights in a file outside the folder", external("../../../../etc/passwd"))

    n = Net("bad-sparse", ("N", 3, 3, 3))
    model = n.model([n.op("Conv", "image", "sparse")])
    values = helper.make_tensor("sparse", T.FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("i", T.INT64, [2], [0, 4])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2, 3, 1, 1]))
    write(n.name, model.SerializeToString(deterministic=True), "a sparse initialiser", REFUSED)

    whole = (OUT / "residual.onnx").read_bytes()
    write("truncated", whole[: len(whole) * 3 // 5], "residual.onnx cut off within its initialisers", REFUSED)
    write("truncated-start", whole[:5], "residual.onnx's first five bytes", REFUSED)
    write("empty", b"", "an empty file (a valid protobuf message of no graph)", REFUSED)
    write("text", b"This is not an ONNX file.\n", "text", REFUSED)
    write("png", b"\x89PNG\r\n\x1a\n" + bytes(range(200)), "bytes that begin as a PNG", REFUSED)
    write("garbage", np.random.default_rng(1).bytes(300), "random bytes", REFUSED)
    # A length that reaches beyond the file, and one beyond usize.
    write("bad-length", b"\x08\x08\x3a\xff\xff\xff\xff\x7f" + b"\x0a\x00" * 8, "a graph said to be 34 GB long", REFUSED)
    write("bad-varint", b"\x08\x08\x3a" + b"\xff" * 11, "a varint longer than ten bytes", REFUSED)
    write("bad-group", b"\x08\x08\x3b" * 40, "protobuf's deprecated groups, unclosed", REFUSED)


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def readme():
    text = ["# ONNX fixtures", "",
            "Written by `make.py`. `expected.safetensors` has for every net of the first list and most of the second the input",
            "(`NET/input`) and onnxruntime's values of some tensors (`NET/TENSOR`), all float32.", ""]
    heads = {GOOD: "Read", OPTIONAL: "Read, or refused with a reason", REFUSED: "Refused, or read up to the node in question"}
    for status, entries in lines.items():
        text += [f"## {heads[status]}", ""]
        text += [f"- `{name}`: {note}" for name, note in entries] + [""]
    (OUT / "README.md").write_text("\n".join(text))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        if old.suffix in (".onnx", ".data", ".safetensors", ".md"):
            old.unlink()
    for part in (convolutions, normalisation, activations, gates, pools, graphs, padding, heads, weights, inputs, refused):
        part()
    save_file(expected, OUT / "expected.safetensors")
    (OUT / "expected.safetensors").chmod(0o644)
    readme()
    sizes = {p.name: p.stat().st_size for p in OUT.iterdir()}
    print({status: len(entries) for status, entries in lines.items()}, "bytes", sum(sizes.values()),
          "largest", sorted(sizes.items(), key=lambda s: -s[1])[:5])


if __name__ == "__main__":
    main()
