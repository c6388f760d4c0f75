"""Make small.onnx, a network with the parts of small vision networks, and small.npz, what onnxruntime says of it.

    python tests/data/make_small_onnx.py

needs onnx and onnxruntime. The network has random weights and two results: classes, and a map of the input's size.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent


class Maker:
    """Nodes and weights under way."""

    def __init__(self):
        self.nodes, self.arrays, self.rng = [], [], np.random.default_rng(20)

    def array(self, value, dtype=np.float32):
        name = f"w{len(self.arrays)}"
        self.arrays.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def random(self, *shape):
        inputs = max(int(np.prod(shape[1:])), 1)
        return self.array(self.rng.standard_normal(shape) * np.sqrt(2 / inputs))

    def __call__(self, operator, *inputs, outputs=1, **attributes):
        names = [f"{operator.lower()}{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=f"{operator}_{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x, c, m, taps, **attributes):
        return self("Conv", x, self.random(m, c // attributes.get("group", 1), taps, taps), self.random(m),
                    kernel_shape=[taps, taps], **attributes)


def network():
    g = Maker()
    x = g.conv("x", 3, 8, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    x = g("BatchNormalization", x, g.array(g.rng.random(8) + 0.5), g.random(8), g.random(8),
          g.array(g.rng.random(8) + 0.5), epsilon=1e-3)
    x = first = g("HardSwish", x)
    x = g("Relu", g.conv(x, 8, 8, 3, group=8, pads=[1, 1, 1, 1]))  # depthwise
    s = g("Relu", g.conv(g("GlobalAveragePool", x), 8, 4, 1))  # squeeze and excite
    x = g("Mul", x, g("HardSigmoid", g.conv(s, 4, 8, 1), alpha=1 / 6))
    x = g("Add", g.conv(x, 8, 8, 1), first)
    x = g("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    a, b = g("Split", x, g.array([4, 4], np.int64), outputs=2, axis=1)
    a = g("PRelu", g.conv(a, 4, 8, 3, dilations=[2, 2], pads=[2, 2, 2, 2]), g.array(g.rng.random((8, 1, 1))))
    b = g("Mul", b, g("Sigmoid", b))
    x = deep = g("Concat", a, b, axis=1)
    x = g("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    x = g("LeakyRelu", g.conv(x, 12, 16, 3, auto_pad="SAME_LOWER"), alpha=0.1)
    x = g("ReduceMean", x, axes=[2, 3], keepdims=0)
    n = g("Unsqueeze", g("Gather", g("Shape", "x"), g.array(0, np.int64), axis=0), g.array([0], np.int64))
    x = g("Reshape", x, g("Concat", n, g.array([-1], np.int64), axis=0))
    x = g("Gemm", x, g.random(10, 16), g.random(10), transB=1)
    g.nodes[-1].output[0] = "scores"
    g("Softmax", "scores", axis=1)
    g.nodes[-1].output[0] = "classes"
    up = g("Resize", deep, "", g.array([1, 1, 2, 2]), mode="linear", coordinate_transformation_mode="half_pixel")
    up = g("ConvTranspose", g("Clip", up, g.array(-1), g.array(6)), g.random(12, 2, 4, 4), g.random(2),
           kernel_shape=[4, 4], strides=[2, 2], pads=[1, 1, 1, 1])
    up = g("Tanh", g("Pad", up, g.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64), mode="edge"))
    g("Transpose", up, perm=[0, 2, 3, 1])
    g.nodes[-1].output[0] = "map"

    def port(name, *shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(g.nodes, "small", [port("x", "n", 3, "h", "w")],
                              [port("classes", "n", 10), port("map", "n", "mh", "mw", 2)], g.arrays)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], producer_name="convx tests")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    onnx.save(network(), HERE / "small.onnx")
    x = np.random.default_rng(21).standard_normal((2, 3, 32, 24), dtype=np.float32)
    session = onnxruntime.InferenceSession(HERE / "small.onnx")
    classes, picture = session.run(["classes", "map"], {"x": x})
    np.savez_compressed(HERE / "small.npz", x=x, classes=classes, map=picture)
