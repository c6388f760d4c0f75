"""``convx summary`` (floor 9): the table of a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ._files import Failure

ZOO = {"vgg16": (1, 3, 224, 224), "yolov2": (1, 3, 416, 416)}
HEAD = ("", "operator", "weights", "input", "", "output", "bytes")


def add(commands) -> None:
    parser = commands.add_parser(
        "summary", help="tell what a network costs, layer by layer",
        description="Prints shapes, weights and sizes of every layer: of an ONNX file, which is run once with zeros, "
                    "or of a network that convx knows by name.")
    parser.add_argument("network", metavar="NETWORK", help=f"an .onnx file, or one of {', '.join(ZOO)}")
    parser.add_argument("--input", action="append", default=[], metavar="[NAME=]1x3x224x224",
                        help="sizes of the input; NAME for one of several inputs of a file (default: those of the file "
                             "or of the network's paper, and a batch of 1)")
    parser.set_defaults(run=run)


def run(options) -> None:
    shapes = dict(map(_shape, options.input))
    try:
        from .. import nn

        if options.network in ZOO:
            if set(shapes) - {""}:
                raise Failure(f"--input {', '.join(shapes)}: {options.network} has one input without a name")
            net = getattr(nn.zoo, options.network)()
            print(nn.summary(net, shapes.get("", ZOO[options.network])))
        elif Path(options.network).suffix != ".onnx":
            raise Failure(f"{options.network} is neither an .onnx file nor one of {', '.join(ZOO)}")
        else:
            graph(nn.load(options.network), shapes)
    except (FileNotFoundError, ImportError, NotImplementedError, TypeError, ValueError) as error:
        raise Failure(str(error)) from None


def _shape(text: str):
    name, _, sizes = text.rpartition("=")
    try:
        return name, tuple(int(size) for size in sizes.split("x"))
    except ValueError:
        raise Failure(f"--input {text}: sizes are needed, as in 1x3x224x224") from None


def _zeros(port, shapes):
    """An input of zeros: the sizes that are asked for, or those of the file, whose batch may be free."""
    name = port.name if port.name in shapes else ""
    shape = shapes.get(name)
    if shape is None:
        shape = tuple(1 if at == 0 and not isinstance(n, int) else n for at, n in enumerate(port.shape or ("?",)))
        if port.shape is None or not all(isinstance(n, int) for n in shape):
            raise Failure(f"the file leaves sizes of the input {port.name} open, {port.shape}: give them with --input")
    return np.zeros(shape, port.dtype)


def graph(network, shapes) -> None:
    known = {port.name for port in network.inputs} | ({""} if len(network.inputs) == 1 else set())
    if set(shapes) - known:
        raise Failure(f"--input: the inputs are {', '.join(port.name for port in network.inputs)}")
    inputs = {port.name: _zeros(port, shapes) for port in network.inputs}
    lines, total, kept = [HEAD], 0, 0
    for number, node in enumerate(network.trace(inputs)):
        taken, made = (" ".join("x".join(map(str, shape)) or "1" for shape in some)
                       for some in (node.taken, node.made))
        lines.append((str(number), node.operator, f"{node.weights:,}" if node.weights else "", taken, "->", made,
                      f"{node.size:,}"))
        total, kept = total + node.size, kept + node.weights
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(f"{cell:{side}{width}}" for cell, side, width in
                        zip(line, "><><<<>", widths, strict=True)).rstrip())
    held = sum(array.size for array in network.weights.values())
    print(f"\nweights   {held:,} in the file's arrays, {kept:,} read by these nodes\nresults   {total:,} bytes")
