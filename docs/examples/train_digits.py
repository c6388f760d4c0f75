"""Train a small network on scikit-learn's handwritten digits (1797 images of 8 x 8), with NumPy and convx alone.

    pip install "convx-nd[examples]"
    python docs/examples/train_digits.py

A quarter of the images, 449, is held out and only looked at for the accuracy that is printed.
"""

import argparse
import time

import numpy as np

from convx import nn


def network():
    return nn.Sequential(
        nn.Sequential(nn.Conv(16, 3, padding=1, bias=False), nn.BatchNorm(), nn.ReLU()),
        nn.Sequential(nn.Conv(32, 3, padding=1, bias=False), nn.BatchNorm(), nn.ReLU()),
        nn.MaxPool(2),
        nn.Sequential(nn.Conv(32, 3, padding=1, bias=False), nn.BatchNorm(), nn.ReLU()),
        nn.MaxPool(2),
        nn.Flatten(), nn.Dropout(0.25, rng=1), nn.Dense(10))


def digits(rng):
    """Images (N, 1, 8, 8) between -1 and 1 and labels, to train and held out."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(labels))
    images = (images[order].reshape(-1, 1, 8, 8) / 8 - 1).astype(np.float32)
    cut = len(order) // 4
    return (images[cut:], labels[order][cut:]), (images[:cut], labels[order][:cut])


def accuracy(net, images, labels) -> float:
    return float((net(images).argmax(axis=1) == labels).mean())


def train(net, images, labels, rng, epochs: int, batch: int = 64, rate: float = 2e-3, report=None) -> None:
    """Adam on shuffled batches, with a rate that falls to zero along a half cosine."""
    step = nn.Adam(net.weights, rate)
    for epoch in range(epochs):
        order, total = rng.permutation(len(labels)), 0.0
        for start in range(0, len(order) - batch + 1, batch):
            step.rate = rate * (1 + np.cos(np.pi * (epoch + start / len(order)) / epochs)) / 2
            chosen = order[start:start + batch]
            loss, dy = nn.cross_entropy(net.forward(images[chosen]), labels[chosen])
            _, *gradients = net.backward(dy)
            step(gradients)
            total += loss * batch
        if report:
            report(epoch, total / (len(order) // batch * batch))


def main(epochs: int = 15, seed: int = 0) -> float:
    rng = np.random.default_rng(seed)
    (images, labels), (held, truth) = digits(rng)
    net = network()
    net.init(images.shape, rng)
    print(nn.summary(net, (1, *images.shape[1:])), "\n")
    start = time.perf_counter()

    def report(epoch, loss):
        print(f"epoch {epoch + 1:>2}   loss {loss:.4f}   held out {accuracy(net, held, truth):.1%}   "
              f"{time.perf_counter() - start:.1f} s")

    train(net, images, labels, rng, epochs, report=report)
    return accuracy(net, held, truth)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"\naccuracy on held-out digits: {main(options.epochs, options.seed):.1%}")
