"""ONNX files as graphs that run (floor 7). Reading checks everything; running only computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from . import _onnx_math, _onnx_resize, _onnx_shapes, _onnx_windows  # noqa: F401 (they fill the table)
from ._onnx_nodes import BUILDERS, DTYPES, Node, Unsupported

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from numpy.typing import ArrayLike


class Port(NamedTuple):
    """An input or output of a graph."""

    name: str
    shape: tuple | None  # sizes, names of sizes, or None where any size will do; None: not told
    dtype: np.dtype | None


class Step(NamedTuple):
    """A node that runs."""

    node: Node
    compute: object
    drop: tuple[str, ...]  # values that nobody needs afterwards


class Ran(NamedTuple):
    """A node that has run, and what it took and made."""

    name: str
    operator: str
    taken: tuple[tuple[int, ...], ...]  # shapes of what depends on the input
    made: tuple[tuple[int, ...], ...]
    weights: int  # numbers in the arrays of the file that it reads
    size: int  # bytes of the results


class Graph:
    """A network read from an ONNX file: call it with its input.

    Attributes
    ----------
    inputs, outputs : tuple of Port
        Names, shapes and dtypes.
    operators : tuple of str
        The operators that run, in order; what the file alone determines was computed when it was read.
    weights : dict of ndarray
        The arrays of the file by name.

    Notes
    -----
    Calls may be made from many threads. Intermediate values are dropped after their last use. Convolutions whose
    weights the file holds pack them once for an input shape and keep them for the last few shapes.

    Examples
    --------
    See the page on networks, `docs/nn.md`.
    """

    def __init__(self, path, inputs, outputs, steps, constants, weights):
        self.path, self.inputs, self.outputs, self.weights = path, inputs, outputs, weights
        self._steps, self._constants = steps, constants

    @property
    def operators(self) -> tuple[str, ...]:
        return tuple(step.node.operator for step in self._steps)

    def __call__(self, x: ArrayLike | Mapping[str, ArrayLike]) -> Any:
        """Run the network.

        Parameters
        ----------
        x : array_like or mapping of str to array_like
            The input, or the inputs by name.

        Returns
        -------
        y : ndarray, or list of ndarray where the network has several outputs

        Raises
        ------
        ValueError, TypeError
            An input is missing or does not fit what the file says, before anything runs; or a node cannot work with
            what it gets, and the message names the node.
        """
        values = self._constants | self._accept(x)
        with np.errstate(all="ignore"):  # infinities and nan are values like others
            for step in self._steps:
                _execute(step, values)
        found = [values[port.name] for port in self.outputs]
        return found[0] if len(found) == 1 else found

    def trace(self, x: ArrayLike | Mapping[str, ArrayLike]) -> Iterator[Ran]:
        """Run the network, and tell of every node once it has run.

        Parameters
        ----------
        x : array_like or mapping of str to array_like
            As for a call; nothing runs before the first node is asked for.

        Yields
        ------
        node : Ran
            Its `name`, `operator`, the shapes that it has `taken` and `made`, the number of `weights` that it reads
            from the file, and the `size` of its results in bytes.
        """
        values = self._constants | self._accept(x)
        for step in self._steps:
            node = step.node
            taken = tuple(values[name].shape for name in node.inputs if name and name not in self._constants)
            weights = sum(values[name].size for name in node.inputs if name in self._constants)
            with np.errstate(all="ignore"):
                _execute(step._replace(drop=()), values)
            made = [values[name] for name in node.outputs if name]
            yield Ran(node.name, node.operator, taken, tuple(array.shape for array in made), weights,
                      sum(array.nbytes for array in made))
            for name in step.drop:
                del values[name]

    def _accept(self, x) -> dict:
        if not hasattr(x, "keys"):
            if len(self.inputs) != 1:
                raise TypeError(f"this network has inputs {', '.join(p.name for p in self.inputs)}: give a mapping")
            x = {self.inputs[0].name: x}
        names = {port.name for port in self.inputs}
        if set(x) != names:
            raise ValueError(f"inputs are {', '.join(sorted(x))}; this network has {', '.join(sorted(names))}")
        found = {}
        for port in self.inputs:
            array = np.asarray(x[port.name])
            if port.dtype is not None and array.dtype != port.dtype:
                raise TypeError(f"input {port.name} has dtype {array.dtype}, the network takes {port.dtype}")
            if port.shape is not None and (len(port.shape) != array.ndim or any(
                    isinstance(want, int) and want != size
                    for want, size in zip(port.shape, array.shape, strict=True))):
                raise ValueError(f"input {port.name} has shape {array.shape}, the network takes {port.shape}")
            found[port.name] = array
        return found

    def __repr__(self):
        def shown(ports):
            return ", ".join(f"{p.name} {p.shape} {p.dtype}" for p in ports)
        return f"<Graph of {len(self._steps)} nodes: {shown(self.inputs)} -> {shown(self.outputs)}>"


def _execute(step: Step, values: dict) -> None:
    node = step.node
    try:
        result = step.compute(*(values[name] if name else None for name in node.inputs))
    except MemoryError:
        raise
    except Exception as error:  # whatever NumPy or convx find wrong
        raise ValueError(f"node {node.name} ({node.operator}): {error}") from error
    for name, array in zip(node.outputs, result if isinstance(result, tuple) else (result,), strict=False):
        if name:
            values[name] = np.asarray(array)
    for name in step.drop:
        del values[name]


# Reading --------------------------------------------------------------------------------------------------------------

def _package():
    try:
        import onnx
    except ImportError as error:
        raise ImportError('.onnx needs the package onnx: pip install "convx-nd[onnx]"') from error
    return onnx


def read(path) -> Graph:
    """The graph of a file."""
    onnx = _package()
    try:
        model = onnx.load(str(path))
        graph = model.graph
        opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
        if not graph.node or not graph.output or opset is None:
            raise ValueError("it holds no graph of the standard operators")
        folder = str(path.parent)
        weights = {t.name: _array(onnx, t, folder) for t in graph.initializer}
        nodes = [_node(onnx, proto, i, opset, folder) for i, proto in enumerate(graph.node)]
        inputs = tuple(_port(value) for value in graph.input if value.name not in weights)
        outputs = tuple(_port(value) for value in graph.output)
    except (MemoryError, ImportError):
        raise
    except NotImplementedError as error:
        raise NotImplementedError(f"{path}: {error}") from None
    except Exception as error:  # protobuf, numpy_helper and files beside the file each have their own errors
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} cannot be read as an ONNX network: {said}") from error
    _known(path, nodes, graph)
    return _assembled(path, inputs, outputs, nodes, weights)


def _text(*names) -> None:
    """What damaged bytes make of a name is no text."""
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"the name {name!r} is no text")


def _array(onnx, tensor, folder):
    _text(tensor.name)
    if tensor.data_type not in DTYPES:
        raise NotImplementedError(f"array {tensor.name} has data type {tensor.data_type}, which is not known here")
    return onnx.numpy_helper.to_array(tensor, folder)


def _node(onnx, proto, i: int, opset: int, folder) -> Node:
    _text(proto.name, proto.op_type, proto.domain, *proto.input, *proto.output, *(a.name for a in proto.attribute))
    attributes = {}
    for attribute in proto.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        elif isinstance(value, onnx.TensorProto):
            value = _array(onnx, value, folder)
        elif not isinstance(value, (int, float)) and attribute.type not in (
                onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
            continue  # graphs and the like belong to operators that are not known here
        elif not isinstance(value, (int, float)):
            value = tuple(value)
        attributes[attribute.name] = value
    operator = proto.op_type if proto.domain in ("", "ai.onnx") else f"{proto.domain}.{proto.op_type}"
    return Node(proto.name or f"number {i}", operator, opset, attributes, tuple(proto.input), tuple(proto.output))


def _port(value) -> Port:
    _text(value.name)
    kind, tensor = value.type.WhichOneof("value"), value.type.tensor_type
    if kind not in (None, "tensor_type") or (tensor.elem_type and tensor.elem_type not in DTYPES):
        raise NotImplementedError(f"{value.name} is no array, or one of a dtype that is not known here")
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else d.dim_param or None
                      for d in tensor.shape.dim)
    return Port(value.name, shape, np.dtype(DTYPES[tensor.elem_type]) if tensor.elem_type else None)


def _known(path, nodes, graph) -> None:
    missing: dict = {}
    for node in nodes:
        if node.operator not in BUILDERS:
            missing.setdefault(node.operator, node.name)
    if missing:
        raise NotImplementedError(f"{path} has operators that are not known here: " + ", ".join(
            f"{operator} (node {name})" for operator, name in sorted(missing.items())))
    if graph.sparse_initializer:
        raise NotImplementedError(f"{path} has sparse weights, which are not known here")


def _assembled(path, inputs, outputs, nodes, weights) -> Graph:
    """Builders applied, what the file determines computed, and the last use of every value found."""
    constants, there, steps = dict(weights), {port.name for port in inputs} | set(weights), []
    for node in nodes:
        for name in node.inputs:
            if name and name not in there:
                raise ValueError(f"{path}: node {node.name} ({node.operator}) takes {name!r}, which nothing before it "
                                 "gives")
        there.update(node.outputs)
        node.constants = tuple(constants.get(name) for name in node.inputs)
        step = Step(node, _built(path, node), ())
        if all(not name or name in constants for name in node.inputs):
            with np.errstate(all="ignore"):
                _execute(step, constants)
        else:
            steps.append(step)
    for port in outputs:
        if port.name not in there:
            raise ValueError(f"{path}: no node gives the output {port.name!r}")
    return Graph(path, inputs, outputs, _dropping(steps, {p.name for p in outputs}, constants),
                 _used(steps, outputs, constants), weights)


def _built(path, node: Node):
    where = f"{path}: node {node.name} ({node.operator})"
    try:
        compute = BUILDERS[node.operator](node)
    except Unsupported as refusal:
        raise NotImplementedError(f"{where}: {refusal} is not known here") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} is not well formed: {error}") from error
    if node.leftovers():
        raise NotImplementedError(f"{where}: attribute {', '.join(node.leftovers())} is not known here")
    return compute


def _dropping(steps, kept, constants) -> list[Step]:
    """The steps, each with the values whose last use it is."""
    later, found = set(kept), []
    for step in reversed(steps):
        names = {name for name in (*step.node.inputs, *step.node.outputs) if name and name not in constants}
        found.append(step._replace(drop=tuple(names - later)))
        later |= {name for name in step.node.inputs if name}
    return found[::-1]


def _used(steps, outputs, constants) -> dict:
    """The constants that something still reads."""
    names = {name for step in steps for name in step.node.inputs} | {port.name for port in outputs}
    found = {name: array for name, array in constants.items() if name in names}
    for array in found.values():
        array.flags.writeable = False  # results may be views of them
    return found
