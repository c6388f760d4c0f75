"""What a type checker says of calls of convx: ``mypy --strict tests/typed.py``.

Calls that are wrong carry an ignore; strict mypy complains of an ignore where there is no error.
"""

import numpy as np
from numpy.typing import NDArray

import convx
from convx import image, matlab, nn
from convx.linop import as_linear_operator

x: NDArray[np.float32] = np.ones((1, 3, 8, 8), np.float32)
w = np.ones((4, 3, 3, 3), np.float32)
y = convx.conv2d(x, w, np.zeros(4), stride=2, padding=((1, 1), (0, 1)), boundary=("edge", "wrap"), workers=1)
y += convx.conv(x.tolist(), w, padding="same", stride=(2, 2), cval=np.float32(0), algorithm="sums", out=y)
z = convx.conv_transpose(y, w, output_padding=1, groups=np.int64(1), overflow="wrap", dtype="f4")
dx, dw, db = convx.conv_backward(x, w, y, stride=2)
total: float = float((dx.sum() + dw.sum() + db.sum()) + convx.conv_grad_input(y, w, x.shape).sum())
convx.convolve([1, 2], [3, 4], "same", axes=0, boundary="edge", dtype=np.uint8, overflow="saturate", divisor=2)
largest = convx.max_pool(x, 2, padding=1).astype(int)
largest, places = convx.max_pool(x, (2, 2), return_indices=True)
convx.max_unpool(largest, places, x.shape).fill(0)
plan = convx.plan("conv2d", x, w, padding="same")
bound = plan.bind(w)(x, out=np.empty(plan.y_shape, np.float32)).shape
row: tuple[str, str | None, float | None] = convx.explain("conv", x, w).rows[0]
rank = convx.geometry("c3 m8 i32x32 k3x3").axes[0].padding()[0] + convx.x_axes("NHWC", 2)[1]
with convx.threads(1):
    convx.set_num_threads(convx.get_num_threads())
softer = image.apply(np.zeros((4, 4), np.uint8), [[1, 2, 1]], divisor=4, border="keep", alpha=None).tobytes()
turned = matlab.conv2([[1, 2]], [[1], [2]], "same").T
r, lags = matlab.xcorr([1, 2], [3, 4], 1, "coeff", nargout=2)
net = nn.Sequential(nn.Conv(8, 3, padding="same"), nn.ReLU(), nn.MaxPool(2, ties="all"), nn.Flatten(), nn.Dense(2))
channels: int = net.init(x.shape, rng=0)[1] + len(net[:2])
step = nn.Adam(net.weights, rate=0.01)
loss, dy = nn.cross_entropy(net.forward(x), [1])
dx, *gradients = net.backward(dy)
step(gradients)
shape: tuple[int, ...] = nn.summary(net, x.shape).rows[0].output + as_linear_operator(w, x.shape, padding=1).y_shape

convx.conv2d(x, w, padding="sane")  # type: ignore[arg-type]
convx.conv2d(x, w, strides=2)  # type: ignore[call-arg]
convx.conv_transpose1d(x, w, boundary="mirror")  # type: ignore[arg-type]
convx.locally_connected(x, w, output_padding=1)  # type: ignore[call-arg]
convx.conv_backward(x, w, y, out=y)  # type: ignore[call-arg]
convx.correlate(x, w, mode="whole")  # type: ignore[arg-type]
convx.avg_pool(x, 2.5)  # type: ignore[arg-type]
convx.plan("conv2d", x)  # type: ignore[call-arg]
convx.threads("2")  # type: ignore[arg-type]
image.apply(x, [[1]], border="mirror")  # type: ignore[arg-type]
matlab.conv([1], [2], shape=3)  # type: ignore[arg-type]
nn.Conv(8, 3, padding="sane")  # type: ignore[arg-type]
nn.MaxPool(2, ties="last")  # type: ignore[arg-type]
net.forward(x, train=True)  # type: ignore[call-arg]
