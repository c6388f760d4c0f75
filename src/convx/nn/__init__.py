"""Networks of layers on convx (floor 7, imported only when asked for): forward, backward, tables, files.

Conv, ConvTranspose, LocallyConnected, MaxPool, AvgPool     convx's operators as layers with weights
ReLU, LeakyReLU, PReLU, ELU, SELU, Sigmoid, Tanh, Softplus, SiLU, Mish, GELU, HardSigmoid, HardSwish, Clip
BatchNorm, Dense, Flatten, Softmax, Dropout, Reorg          the rest of a network
Sequential, Route, Add                                      layers one after the other, and joins
cross_entropy, SGD, Adam                                    training
summary, receptive_field                                    what a network costs, what an output sees
load, save, Graph                                           ONNX graphs; weights as npz or safetensors
zoo                                                         vgg16, yolov2
Convolution, ConvGrad                                       the layer of a tutorial, with its Jacobian

Weights are NumPy arrays that belong to the user: every layer shows its own (`weights`, `named`), takes others
(`assign`), and backward returns the gradients in the same order. The computing is done by convx's public functions.
"""

from . import zoo
from ._activations import (
    ELU,
    GELU,
    SELU,
    Clip,
    HardSigmoid,
    HardSwish,
    LeakyReLU,
    Mish,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from ._files import load, save
from ._layer import Layer
from ._layers import BatchNorm, Dense, Dropout, Flatten, Reorg, Softmax
from ._network import Add, Route, Sequential
from ._onnx import Graph
from ._summary import receptive_field, summary
from ._training import SGD, Adam, cross_entropy
from ._tutorial import ConvGrad, Convolution
from ._windowed import AvgPool, Conv, ConvTranspose, LocallyConnected, MaxPool

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "SGD",
    "Adam",
    "Add",
    "AvgPool",
    "BatchNorm",
    "Clip",
    "Conv",
    "ConvGrad",
    "ConvTranspose",
    "Convolution",
    "Dense",
    "Dropout",
    "Flatten",
    "Graph",
    "HardSigmoid",
    "HardSwish",
    "Layer",
    "LeakyReLU",
    "LocallyConnected",
    "MaxPool",
    "Mish",
    "PReLU",
    "ReLU",
    "Reorg",
    "Route",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Tanh",
    "cross_entropy",
    "load",
    "receptive_field",
    "save",
    "summary",
    "zoo",
]
