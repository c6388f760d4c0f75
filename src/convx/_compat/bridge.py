"""Requests of MATLAB and Octave as bytes, and their answers: the other side of `matlab_compat/octave/convx_call.m`.

A request holds the number of results and of values (uint32 each), then the values: the function's name, its arguments.
An answer is one byte, 0 or 1, and values: the results, or the identifier and text of an error. A value is its class
(number in `calls.CLASSES` from 1), 1 if complex, its rank (a byte each), its dimensions (uint64), and its elements in
column-major order: real parts, then imaginary parts. Numbers have the byte order of the machine, which is the same for
both. A sparse matrix has the class after the last one, and its rows, columns and elements as three values.

MATLAB calls `respond` inside its own process. For Octave `python -m convx._compat.bridge` reads requests from standard
input and writes answers to standard output, each after its length (uint64), until the input ends.
"""

from __future__ import annotations

import math
import os
import struct
import sys

import numpy as np
from scipy.sparse import coo_array, issparse

from .calls import CLASSES, CallError, call, class_of, dtype_of, matrix

SPARSE = len(CLASSES) + 1


class _Reader:
    """Takes values off the front of bytes; every length is checked before it is used."""

    def __init__(self, data: bytes):
        self.data, self.at = memoryview(data), 0

    def take(self, count: int) -> memoryview:
        if count > len(self.data) - self.at:
            raise CallError("the request is shorter than it says", "convx:bridge:badRequest")
        self.at += count
        return self.data[self.at - count:self.at]

    def numbers(self, form: str) -> tuple:
        return struct.unpack("=" + form, self.take(struct.calcsize("=" + form)))

    def value(self):
        number, is_complex, rank = self.numbers("BBB")
        dimensions = self.numbers(f"{rank}Q")
        if number == SPARSE:
            rows, columns, elements = (self.value().ravel() for _ in range(3))
            return coo_array((elements, (rows.astype(int) - 1, columns.astype(int) - 1)), shape=dimensions).tocsc()
        if not 1 <= number < SPARSE or is_complex > (number <= 2) or rank < 2:
            raise CallError(f"the request has no such class: {number, is_complex, rank}", "convx:bridge:badRequest")
        name, count = CLASSES[number - 1], math.prod(dimensions)
        stored = np.dtype("u1" if name == "char" else dtype_of(name))
        parts = [np.frombuffer(self.take(count * stored.itemsize), stored) for _ in range(1 + is_complex)]
        if is_complex:
            array = np.empty(count, dtype_of(name, True))
            array.real, array.imag = parts
        else:
            array = parts[0].astype("u4").view("U1") if name == "char" else parts[0]
        return matrix(array.reshape(dimensions, order="F"))


def _packed(value) -> bytes:
    if issparse(value):
        value = coo_array(value)
        rows, columns = (np.asarray(places, float)[:, None] + 1 for places in value.coords)
        return struct.pack("=BBB2Q", SPARSE, 0, 2, *value.shape) + b"".join(
            map(_packed, (rows, columns, np.asarray(value.data)[:, None])))
    name = class_of(value)
    if name not in CLASSES:
        raise CallError(f"MATLAB has no class for {name}", "convx:bridge:class")
    elements = value.ravel(order="F")
    if name == "char":
        if value.dtype.itemsize != np.dtype("U1").itemsize:
            raise CallError("an array of words is no char array of MATLAB", "convx:bridge:class")
        parts = ["".join(elements).encode("latin-1", "replace")]
    else:
        parts = [elements.real, elements.imag] if elements.dtype.kind == "c" else [elements]
    head = struct.pack(f"=BBB{value.ndim}Q", CLASSES.index(name) + 1, len(parts) - 1, value.ndim, *value.shape)
    return head + b"".join(part if isinstance(part, bytes) else part.tobytes() for part in parts)


def respond(request: bytes) -> bytes:
    """The answer to a request; an error becomes an answer too."""
    try:
        reader = _Reader(bytes(request))
        outputs, count = reader.numbers("II")
        name, *arguments = (reader.value() for _ in range(count))
        return b"\0" + b"".join(map(_packed, call("".join(name.ravel()), arguments, outputs)))
    except (CallError, ValueError, TypeError, IndexError, OverflowError) as error:  # the latter: a damaged request
        error = error if isinstance(error, CallError) else CallError(str(error), "convx:bridge:badRequest")
        return b"\1" + _packed(matrix(error.identifier)) + _packed(matrix(str(error)))


def serve() -> None:
    """Answers requests on standard input until it ends. What anybody else prints goes to standard error."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while len(length := requests.read(8)) == 8:
        expected, = struct.unpack("=Q", length)
        request = requests.read(expected)
        if len(request) < expected:
            return
        answer = respond(request)
        answers.write(struct.pack("=Q", len(answer)))
        answers.write(answer)
        answers.flush()


if __name__ == "__main__":
    try:
        serve()
    except (KeyboardInterrupt, BrokenPipeError):  # the other side was interrupted, or has ended
        sys.exit(1)
