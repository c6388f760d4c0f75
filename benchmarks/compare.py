"""convx against the libraries found on this machine: python benchmarks/compare.py [--quick] [--only P1,P5]

P1   layers, float32, NCHW and NHWC, one call with plain weights       against PyTorch (best of its two layouts)
P3   the same layers, dX and dW                                        against PyTorch's convolution_backward
P4   the same layers in float64, forward, and dX and dW                against PyTorch
P5   one-channel filters 512^2 to 4096^2, 3 to 31 taps, both dtypes     against OpenCV filter2D
P9   depthwise, grouped, 3-D, dilated, strided, transposed layers       against PyTorch, forward, and dX and dW
P10  pooling, float32, NCHW and NHWC; the gradient of max starts from x    against PyTorch (best of its two layouts)
P11  peak extra memory of one call, in a process of its own            against max(a quarter of the arrays, 16 MB)
P12  the smallest calls (for information)                              against numpy.convolve and OpenCV
P13  compute-bound work on two threads                                 against convx on one thread

How: all sides of a case take turns (A B A B ...), at least seven rounds; ratios compare the minima of one run, the
median ratio stands beside them. Before each sample a pause lets idle thread pools stop spinning, then one call that is
not timed warms caches and the pool. Every side uses the same number of threads, and the results are compared before
anything is timed. Public names of convx only; nothing is installed: sections without their peer are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from math import exp, log, prod
from pathlib import Path
from statistics import median

import numpy as np

import convx

PROBLEMS = Path(__file__).with_name("problems.txt")
DENSE = ("first-3x3", "body-64x224", "body-128x56", "body-512x14", "head-1x1", "reduce-1x1", "stem-7x7", "batch-3x3")
OTHERS = ("depthwise-3x3", "depthwise-s2", "grouped-3x3", "dilated-3x3", "strided-3x3", "volume-3x3x3",
          "transposed-4x4")
FILTERS = tuple(f"filter-{h}-k{k}" for h in (512, 1024, 2048, 4096) for k in (3, 5, 7, 9, 11, 15, 21, 31))
POOLS = tuple(f"pool-{image}-{window}" for image in ("n8-56", "112", "28") for window in ("k2-s2", "k3-s2", "k3-s1"))
BOUND = ("body-128x56", "body-512x14", "batch-3x3", "filter-2048-k15")
QUICK = ("first-3x3", "body-512x14", "head-1x1", "reduce-1x1", "stem-7x7", *OTHERS, "filter-512-k3",
         "filter-512-k9", "filter-512-k31", "filter-1024-k15", "pool-28-k2-s2", "pool-28-k3-s1")
F32, F64 = "float32", "float64"


@dataclass(frozen=True)
class Section:
    """A group of cases, its target for the geometric mean and the floor of the rows that `counts` lets in."""

    key: str
    title: str
    tags: tuple[str, ...]
    dtypes: tuple[str, ...]
    peer: str  # torch, cv2, threads, memory, small, or what is pooled
    mean: float | None = None
    floor: float | None = None
    layouts: tuple[str, ...] = ("NCHW", "NHWC")
    counts: tuple[str, ...] | None = None  # tags that the floor is for; None: all
    backward: bool = False  # dX and dW in the place of y


SECTIONS = (
    Section("P1", "layers, float32, dense", DENSE, (F32,), "torch", 0.95, 0.85,
            counts=tuple(t for t in DENSE if t not in ("first-3x3", "stem-7x7"))),
    Section("P1", "layers, float32, depthwise (apart)", ("depthwise-3x3",), (F32,), "torch"),
    Section("P3", "layers, float32, dX and dW", (*DENSE, "depthwise-3x3"), (F32,), "torch", 1.5, 0.9, backward=True),
    Section("P4", "layers, float64", (*DENSE, "depthwise-3x3"), (F64,), "torch", 3.0, 1.0),
    Section("P4", "layers, float64, dX and dW", (*DENSE, "depthwise-3x3"), (F64,), "torch", 2.0, 1.0, backward=True),
    Section("P9", "other layers, float32", OTHERS, (F32,), "torch", 1.2, 0.9),
    Section("P9", "other layers, float32, dX and dW", OTHERS, (F32,), "torch", 1.2, 0.9, backward=True),
    Section("P5", "one-channel filters", FILTERS, (F32, F64), "cv2", 2.5, 1.0, layouts=("NCHW",)),
    *(Section("P10", f"pooling: {name.replace('_', ' ')}", POOLS, (F32,), name, 1.5, 0.9)
      for name in ("max_pool", "avg_pool", "max_pool_grad", "avg_pool_grad")),
    Section("P13", "two threads against one", BOUND, (F32,), "threads", 1.85, layouts=("NCHW",)),
    Section("P11", "peak extra memory of one call", (*DENSE, *OTHERS, "filter-2048-k3", "filter-2048-k31"),
            (F32,), "memory"),
    Section("P11", "peak extra memory of dX and of dW", (*DENSE, *OTHERS), (F32,), "memory", backward=True),
    Section("P12", "the smallest calls", ("tiny-32-k3",), (F32,), "small"),
)


# Problems -----------------------------------------------------------------------------------------------------------

@cache
def problems() -> dict[str, dict[str, tuple[int, ...]]]:
    """tag -> letter -> numbers, from problems.txt."""
    found = {}
    for line in PROBLEMS.read_text().splitlines():
        words = line.split("#")[0].split()
        if words:
            numbers = {word[0]: tuple(map(int, word[1:].split("x"))) for word in words[1:]}
            rank = len(numbers["k"])
            found[words[0]] = {a: v if a in "ngcm" or len(v) == rank else v * rank for a, v in numbers.items()}
    return found


@dataclass(frozen=True)
class Case:
    """One problem in one dtype and layout."""

    tag: str
    dtype: str
    layout: str

    @property
    def transposed(self) -> bool:
        """The line is that of the convolution whose transpose is called: its y is the input."""
        return self.tag.startswith("transposed")

    def __getattr__(self, letter):
        return problems()[self.tag][letter]

    @property
    def products(self) -> int:
        (n,), (g,), (c,), (m,) = self.n, self.g, self.c, self.m
        return n * g * c * m * prod(self.k) * prod(self.o)

    @property
    def shapes(self):
        """x, w, y with channels first."""
        (n,), (g,), (c,), (m,) = self.n, self.g, self.c, self.m
        return (n, g * c, *self.i), (g * m, c, *self.k), (n, g * m, *self.o)

    def options(self) -> dict:
        ends = [(o - 1) * s + d * (k - 1) + 1 - i - p
                for o, s, d, k, i, p in zip(self.o, self.s, self.d, self.k, self.i, self.p, strict=True)]
        padding = tuple((p, max(end, 0)) for p, end in zip(self.p, ends, strict=True))
        if all(2 * p == d * (k - 1) for p, d, k in zip(self.p, self.d, self.k, strict=True)) and max(self.s) == 1:
            padding = "same"
        return {"stride": self.s, "dilation": self.d, "padding": padding, "groups": self.g[0], "layout": self.layout}


@cache
def operands(tag: str, dtype: str):
    """x, w and y (the input of a transposed layer, or a gradient), channels first, values around zero."""
    rng = np.random.default_rng(7)
    return tuple(rng.standard_normal(shape, dtype=dtype) for shape in Case(tag, dtype, "NCHW").shapes)


def laid_out(array, layout):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if layout == "NHWC" else array


# The sides of a case: name -> call, and what turns its result into a channels-first array -----------------------------

def convx_call(case: Case, backward=False, **more):
    x, w, y = (laid_out(a, case.layout) for a in operands(case.tag, case.dtype))
    options = {**case.options(), **more}
    if case.transposed and not backward:
        return lambda: convx.conv_transpose(y, w, **options)
    if case.transposed:  # the gradient of its result is an x
        return lambda: (convx.conv_transpose_grad_input(x, w, y.shape, **options),
                        convx.conv_transpose_grad_weight(y, x, w.shape, **options))
    if backward:
        return lambda: (convx.conv_grad_input(y, w, x.shape, **options),
                        convx.conv_grad_weight(x, y, w.shape, **options))
    return lambda: convx.conv(x, w, **options)


def torch_calls(case: Case, backward=False) -> dict:
    import torch

    orders = {"contiguous": torch.contiguous_format,
              "channels_last": torch.channels_last if len(case.k) == 2 else torch.channels_last_3d}
    calls = {}
    for name, order in orders.items():
        x, w, y = (torch.from_numpy(a).clone(memory_format=order) for a in operands(case.tag, case.dtype))
        here, there = (y, x) if case.transposed else (x, y)
        options = (case.s, case.p, case.d, case.transposed, [0] * len(case.k), case.g[0])
        if backward:
            calls[f"torch {name}"] = lambda here=here, w=w, there=there, options=options: (
                torch.ops.aten.convolution_backward(there, here, w, None, *options, [True, True, False])[:2])
        else:
            calls[f"torch {name}"] = lambda here=here, w=w, options=options: torch.convolution(here, w, None, *options)
    return calls


def pool_options(case: Case) -> dict:
    return {"stride": case.s, "padding": case.p, "layout": case.layout}


@cache
def pool_gradient(tag: str, dtype: str):
    """dy, channels first."""
    return np.random.default_rng(8).standard_normal(Case(tag, dtype, "NCHW").shapes[2], dtype=dtype)


def pool_call(case: Case, name: str):
    """The pooling or gradient of this name; averages count padded cells, as PyTorch's do by default."""
    x, dy = (laid_out(a, case.layout) for a in (operands(case.tag, case.dtype)[0], pool_gradient(case.tag, case.dtype)))
    options, call = pool_options(case), getattr(convx, name)
    if name.startswith("avg"):
        options["count_include_pad"] = True
    given = {"max_pool": (x,), "avg_pool": (x,), "max_pool_grad": (x, dy), "avg_pool_grad": (x.shape, dy)}[name]
    return lambda: call(*given, case.k, **options)


def torch_pool_calls(case: Case, name: str) -> dict:
    import torch

    aten, functional = torch.ops.aten, torch.nn.functional
    k, s, p = list(case.k), list(case.s), list(case.p)
    calls = {}
    for order in (torch.contiguous_format, torch.channels_last):
        x, dy = (torch.from_numpy(a).clone(memory_format=order)
                 for a in (operands(case.tag, case.dtype)[0], pool_gradient(case.tag, case.dtype)))

        def gradient(x=x, dy=dy):
            _, indices = functional.max_pool2d(x, k, s, p, return_indices=True)
            return aten.max_pool2d_with_indices_backward(dy, x, k, s, p, [1, 1], False, indices)

        calls[f"torch {str(order).split('.')[-1].removesuffix('_format')}"] = {
            "max_pool": lambda x=x: functional.max_pool2d(x, k, s, p),
            "avg_pool": lambda x=x: functional.avg_pool2d(x, k, s, p),
            "max_pool_grad": gradient,
            "avg_pool_grad": lambda x=x, dy=dy: aten.avg_pool2d_backward(dy, x, k, s, p, False, True, None),
        }[name]
    return calls


def opencv_calls(case: Case, backward=False) -> dict:
    import cv2

    x, w = (a[0, 0] for a in operands(case.tag, case.dtype)[:2])
    depth = cv2.CV_64F if case.dtype == F64 else cv2.CV_32F
    return {"cv2": lambda: cv2.filter2D(x, depth, w, borderType=cv2.BORDER_CONSTANT)}


def thread_calls(case: Case, backward=False) -> dict:
    return {"one thread": convx_call(case, workers=1)}


def small_calls(case: Case) -> list[tuple[str, dict]]:
    """The smallest calls: (row, {convx: call, peer: call})."""
    a, v = np.random.default_rng(7).standard_normal(16), np.ones(3)
    x, w, _ = operands(case.tag, case.dtype)
    p, out = convx.plan("conv2d", x, w, padding="same"), np.empty(case.shapes[2], case.dtype)
    opencv, into = {}, {}
    if find_spec("cv2"):
        import cv2

        image, taps, y = x[0, 0], w[0, 0], np.empty_like(x[0, 0])
        opencv = opencv_calls(case)
        into = {"cv2 into dst": lambda: cv2.filter2D(image, cv2.CV_32F, taps, dst=y, borderType=cv2.BORDER_CONSTANT)}
    return [
        ("convolve(16, 3)", {"convx": lambda: convx.convolve(a, v), "numpy": lambda: np.convolve(a, v)}),
        ("conv2d 32x32, 3x3", {"convx": lambda: convx.conv2d(x, w, padding="same"), **opencv}),
        ("the same, plan and out=", {"convx": lambda: p(x, w, out=out), **into}),
    ]


POOLING = ("max_pool", "avg_pool", "max_pool_grad", "avg_pool_grad")
PEERS = {"torch": torch_calls, "cv2": opencv_calls, "threads": thread_calls}


# Measuring ----------------------------------------------------------------------------------------------------------

def measured(sides: dict, rounds: int) -> dict[str, list[float]]:
    """Seconds a call of every side, one sample a round, the sides taking turns."""
    repeats = {}
    for name, call in sides.items():
        call()
        seconds = []
        while len(seconds) < 3 and sum(seconds) < 0.02:
            start = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - start)
        repeats[name] = max(1, min(20000, round(0.004 / max(min(seconds), 1e-7))))
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, call in sides.items():
            time.sleep(0.004)
            call()
            start = time.perf_counter()
            for _ in range(repeats[name]):
                call()
            samples[name].append((time.perf_counter() - start) / repeats[name])
    return samples


def agree(sides: dict, dtype: str) -> str | None:
    """None, or which side's result is not the first one's."""
    results = {}
    for name, call in sides.items():
        found = call()
        results[name] = [np.moveaxis(np.asarray(y), -1, 1) if name.endswith("NHWC") else np.asarray(y)
                         for y in (found if isinstance(found, tuple) else (found,))]
    first = next(iter(results))
    for name, arrays in results.items():
        for y, aim in zip(arrays, results[first], strict=True):
            off = abs(y.reshape(aim.shape) - aim).max() / abs(aim).max()
            if not off < (1e-4 if dtype == F32 else 1e-11):
                return f"{name} differs from {first} by {off:.1e} of the largest value"
    return None


def rows_of(section: Section, rounds: int, quick: bool):
    """One dictionary a row: case, convx and peer seconds (minimum), ratio, median ratio, GF/s."""
    for dtype in section.dtypes:
        for tag in section.tags:
            if quick and tag not in QUICK and section.peer != "small":
                continue
            case = Case(tag, dtype, "NCHW")
            if section.peer == "memory":
                parts = ("dx", "dw") if section.backward else ("y",)
                yield from (memory_row(Case(tag, dtype, layout), part) for layout in section.layouts for part in parts)
                continue
            if section.peer == "small":
                for name, sides in small_calls(case):
                    yield row(name, "convx", measured(sides, rounds), None)
                continue
            pools = section.peer in POOLING
            ours = {f"convx {layout}": pool_call(Case(tag, dtype, layout), section.peer) if pools
                    else convx_call(Case(tag, dtype, layout), section.backward) for layout in section.layouts}
            sides = {**ours, **(torch_pool_calls(case, section.peer) if pools
                                else PEERS[section.peer](case, section.backward))}
            wrong = agree(sides, dtype)
            if wrong:
                yield {"case": f"{tag} {dtype}", "tag": tag, "wrong": wrong}
                continue
            samples = measured(sides, rounds)
            peers = {name: s for name, s in samples.items() if name not in ours}
            for name in ours:
                label = f"{tag} {dtype}" + (f" {name.split()[1]}" if len(ours) > 1 else "")
                products = None if pools else case.products * (2 if section.backward else 1)
                yield {**row(label, name, {name: samples[name], **peers}, products), "tag": tag}
            operands.cache_clear()
            pool_gradient.cache_clear()


def row(label: str, ours: str, samples: dict, products: int | None) -> dict:
    mine = samples[ours]
    peers = {name: s for name, s in samples.items() if name != ours}
    best = min(peers, key=lambda name: min(peers[name])) if peers else None
    return {
        "case": label, "convx": min(mine), "peer": min(peers[best]) if best else None, "peer_name": best,
        "ratio": min(peers[best]) / min(mine) if best else None,
        "median_ratio": min(map(median, peers.values())) / median(mine) if best else None,
        "gflops": 2 * products / min(mine) / 1e9 if products else None,
        "samples": samples,
    }


# Memory: a process of its own for each problem ------------------------------------------------------------------------

def memory_row(case: Case, part: str) -> dict:
    label = f"{case.tag} {case.dtype} {case.layout} {part}"
    command = [sys.executable, __file__, "--memory-of", case.tag, case.dtype, case.layout, part,
               str(convx.get_num_threads())]
    child = subprocess.run(command, capture_output=True, text=True)
    if child.returncode:
        return {"case": label, "tag": case.tag, "wrong": (child.stderr.strip() or "no message").splitlines()[-1]}
    itemsize = np.dtype(case.dtype).itemsize
    arrays = sum(map(prod, case.shapes)) * itemsize
    return {"case": label, "tag": case.tag, "arrays": arrays, "extra": int(child.stdout),
            "limit": max(arrays // 4, 16_000_000)}


def status(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def memory_child(tag: str, dtype: str, layout: str, part: str, threads: str) -> None:
    """Print the bytes by which one call that computes a part (y, dx or dw) raises the peak of this process."""
    import resource

    convx.set_num_threads(int(threads))
    case = Case(tag, dtype, layout)
    shapes = [(s[0], *s[2:], s[1]) if layout == "NHWC" else s for s in case.shapes]
    x, w, y = (np.full(shape, 0.5, dtype) for shape in shapes)  # every page touched
    tiny = np.full((1, 1, 8, 8), 0.5, dtype)
    convx.conv2d(tiny, tiny[..., :3, :3])
    options = case.options()
    if case.transposed:
        x, y = y, x  # the layer reads the line's y
    name = "conv_transpose" if case.transposed else "conv"
    calls = {"y": lambda: getattr(convx, name)(x, w, out=y, **options),
             "dx": lambda: getattr(convx, f"{name}_grad_input")(y, w, x.shape, out=x, **options),
             "dw": lambda: getattr(convx, f"{name}_grad_weight")(x, y, w.shape, out=w, **options)}
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
        before, peak = status("VmRSS"), lambda: status("VmHWM")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

        before = peak()
    calls[part]()
    print(max(0, peak() - before))


# The report -----------------------------------------------------------------------------------------------------------

def busy_share(seconds: float = 0.5) -> float | None:
    """The share of all processors' time that others use just now."""
    def ticks():
        numbers = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]))
        return sum(numbers), numbers[3] + numbers[4]

    try:
        total, idle = ticks()
        time.sleep(seconds)
        later, still = ticks()
        return 1 - (still - idle) / max(later - total, 1)
    except (OSError, ValueError, IndexError):
        return None


def machine() -> dict:
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    versions = {}
    for package in ("numpy", "scipy", "torch", "opencv-python-headless", "opencv-python"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    facts = convx.show_config("dict")
    return {"cpu": name, "cpus": os.cpu_count(), "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
            "busy": busy_share(), "convx": facts["version"], "row": facts["kernel row"], "python": facts["python"],
            "versions": versions, "command": " ".join(sys.argv)}


def warn_if_busy(facts: dict) -> None:
    load = ", ".join(f"{v:.2f}" for v in facts["load"]) if facts["load"] else "unknown"
    busy = "unknown" if facts["busy"] is None else f"{facts['busy']:.0%}"
    print(f"load {load}; processors busy with other work: {busy}")
    if (facts["busy"] or 0) > 0.05:
        print("WARNING: the machine is busy; single times mean nothing and ratios little. Wait, or do not report them.")


def milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1e3:.2f}" if seconds >= 1e-3 else f"{seconds * 1e3:.4f}"


def report(section: Section, rows: list[dict], quick: bool) -> dict:
    """Print the summary lines of a section (no verdicts after a trial run); what they say, as a dictionary."""
    wrong = [r for r in rows if "wrong" in r]
    verdict: dict = {"wrong": len(wrong)}
    if section.peer == "memory":
        over = [r["case"] for r in rows if "wrong" not in r and r["extra"] > r["limit"]]
        verdict |= {"over": over, "met": not over and not wrong}
        print(f"  target: no row above its limit: {'met' if verdict['met'] else 'MISSED'}")
        return verdict
    timed = [r for r in rows if r.get("ratio")]
    if not timed or quick:
        return verdict
    mean = exp(sum(log(r["ratio"]) for r in timed) / len(timed))
    worst = min(timed, key=lambda r: r["ratio"])
    verdict |= {"mean": mean, "worst": worst["ratio"], "worst_case": worst["case"]}
    print(f"  geometric mean {mean:.2f}, worst row {worst['ratio']:.2f} ({worst['case']})")
    if section.mean:
        verdict["met_mean"] = mean >= section.mean and not wrong
        print(f"  target: geometric mean {section.mean:.2f}: {'met' if verdict['met_mean'] else 'MISSED'}")
    if section.floor:
        low = [r["case"] for r in timed
               if (section.counts is None or r["tag"] in section.counts) and r["ratio"] < section.floor]
        verdict |= {"met_floor": not low and not wrong, "below": low}
        scope = "no row" if section.counts is None else "no row with 64 or more channels"
        print(f"  target: {scope} below {section.floor:.2f}: {'met' if verdict['met_floor'] else 'MISSED'}"
              f"{': ' + ', '.join(low) if low else ''}")
    return verdict


def run(section: Section, rounds: int, quick: bool) -> dict:
    print(f"\n{section.key}  {section.title}")
    if section.peer == "memory":
        print(f"  {'case':<34}{'arrays MB':>12}{'extra MB':>12}{'limit MB':>12}")
    else:
        print(f"  {'case':<34}{'convx ms':>12}{'peer ms':>12}{'ratio':>8}{'(median)':>10}{'GF/s':>9}  peer")
    rows = []
    for r in rows_of(section, rounds, quick):
        rows.append(r)
        if "wrong" in r:
            line = f"  WRONG: {r['wrong']}"
        elif section.peer == "memory":
            line = "".join(f"{r[name] / 1e6:>12.1f}" for name in ("arrays", "extra", "limit"))
        else:
            ratios = f"{r['ratio']:>8.2f}{r['median_ratio']:>10.2f}" if r["ratio"] else " " * 18
            speed = f"{r['gflops']:>9.0f}" if r["gflops"] else " " * 9
            line = f"{milliseconds(r['convx']):>12}{milliseconds(r['peer']):>12}{ratios}{speed}  {r['peer_name'] or ''}"
        print(f"  {r['case']:<34}{line}", flush=True)
    return {"key": section.key, "title": section.title, "rows": rows, "verdict": report(section, rows, quick)}


def missing(section: Section, threads: int) -> str | None:
    """Why a section cannot run here."""
    peer = "torch" if section.peer in POOLING else section.peer
    if peer in ("torch", "cv2") and not find_spec(peer):
        return f"{peer} is not installed"
    if section.peer == "threads" and threads < 2:
        return "it needs two threads"
    if section.peer == "memory" and not Path("/proc/self/status").exists():
        return "it reads /proc"
    return None


def same_threads(threads: int) -> None:
    convx.set_num_threads(threads)
    if find_spec("torch"):
        import torch

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
    if find_spec("cv2"):
        import cv2

        cv2.setNumThreads(threads)


def main() -> int:
    keys = list(dict.fromkeys(s.key for s in SECTIONS))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few small problems, three rounds: does it work at all")
    parser.add_argument("--only", metavar="P1,P5", help=f"these sections of {', '.join(keys)}")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each case, at least 7 (default 9)")
    parser.add_argument("--threads", type=int, help="threads of every side (default: what convx uses here)")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--memory-of", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        memory_child(*options.memory_of)
        return 0
    wanted = options.only.upper().split(",") if options.only else keys
    if unknown := sorted(set(wanted) - set(keys)):
        parser.error(f"--only {','.join(unknown)}: the sections are {', '.join(keys)}")
    if options.rounds < 7:
        parser.error(f"--rounds {options.rounds}: at least 7")
    rounds = 3 if options.quick else options.rounds
    facts = machine()
    warn_if_busy(facts)
    facts["threads"] = threads = options.threads or convx.get_num_threads()
    same_threads(threads)
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, {threads} thread(s) on every side, {rounds} rounds")
    print(f"convx {facts['convx']} (row {facts['row']}), Python {facts['python']}, "
          + ", ".join(f"{name} {number}" for name, number in facts["versions"].items()))
    if options.quick:
        print("--quick: a trial run; its figures are not for publication")
    done = []
    for section in SECTIONS:
        if section.key in wanted:
            reason = missing(section, threads)
            if reason:
                print(f"\n{section.key}  {section.title}: left out, {reason}")
            else:
                done.append(run(section, rounds, options.quick))
    after = busy_share()
    if after is not None and after > 0.05:
        print("\nWARNING: at the end the machine is busy with other work.")
    if options.json:
        text = json.dumps({"machine": facts, "rounds": rounds, "quick": options.quick, "busy_after": after,
                           "sections": done}, indent=1)
        Path(options.json).write_text(text + "\n")
    return 1 if any(s["verdict"].get("wrong") for s in done) else 0


if __name__ == "__main__":
    sys.exit(main())
