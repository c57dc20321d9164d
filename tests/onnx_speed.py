#!/usr/bin/env python3
"""Times onnxruntime on a net up to one of its tensors, on one thread, image after image: to lay beside `privynet profile`.

    pip install numpy onnx onnxruntime
    python3 tests/onnx_speed.py NET.onnx TENSOR SIDE [SIDE …]

NET       an ONNX file with one input, [N, channels, height, width]
TENSOR    the tensor's name in the file, such as `/layer3/layer3.1/Add_output_0`
SIDE      height and width of the images, whatever the file says

Prints the median and the least time of 400 runs in milliseconds. What Python adds to a run, some microseconds, is part of it.
"""

import sys
import time

import numpy
import onnx
import onnxruntime

RUNS = 400


def prefix(path, tensor):
    """The net up to `tensor`, for images of any side."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    net = onnx.utils.Extractor(model).extract_model([model.graph.input[0].name], [tensor])
    dims = net.graph.input[0].type.tensor_type.shape.dim
    for axis in (2, 3):
        dims[axis].dim_param = f"side{axis}"
    for output in net.graph.output:
        output.type.tensor_type.ClearField("shape")
    del net.graph.value_info[:]
    return net.SerializeToString(), net.graph.input[0].name, dims[1].dim_value


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    path, tensor, *sides = sys.argv[1:]
    net, name, channels = prefix(path, tensor)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    for side in map(int, sides):
        session = onnxruntime.InferenceSession(net, options, providers=["CPUExecutionProvider"])
        image = numpy.random.default_rng(0).random((1, channels, side, side), dtype=numpy.float32)
        times = []
        for _ in range(RUNS + 50):
            start = time.perf_counter()
            session.run(None, {name: image})
            times.append(1e3 * (time.perf_counter() - start))
        times = sorted(times[50:])
        print(f"onnxruntime {onnxruntime.__version__}, {side}×{side}: median {times[RUNS // 2]:.2f} ms, least {times[0]:.2f} ms")


if __name__ == "__main__":
    main()
