"""Times in turns, peaks of memory, imports, and what machine it was."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from math import prod
from pathlib import Path
from statistics import median

import numpy as np
from problems_file import Case

import convx

PACKAGES = ("numpy", "scipy", "torch", "opencv-python-headless", "opencv-python", "onnxruntime", "jax")


def timed(sides: dict, rounds: int) -> dict[str, list[float]]:
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


def disagreement(sides: dict, tolerance: float) -> str | None:
    """None, or which side's result is not the first one's."""
    first, aims = None, None
    for name, call in sides.items():
        found = call()
        arrays = [np.moveaxis(np.asarray(y), -1, 1) if name.endswith("NHWC") else np.asarray(y)
                  for y in (found if isinstance(found, tuple) else (found,))]
        if aims is None:
            first, aims = name, arrays
        for y, aim in zip(arrays, aims, strict=True):
            off = abs(y.reshape(aim.shape).astype(float) - aim).max() / abs(aim.astype(float)).max()
            if not off < tolerance:
                return f"{name} differs from {first} by {off:.1e} of the largest value"
    return None


def row(label: str, ours: str, samples: dict, products: int | None) -> dict:
    """Minimum of convx and of the best peer, their ratio, the ratio of medians, GF/s."""
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


# Processes of their own: memory and imports ---------------------------------------------------------------------------

def memory_row(case: Case, part: str) -> dict:
    label = f"{case.tag} {case.dtype} {case.layout} {part}"
    command = [sys.executable, __file__, case.tag, case.dtype, case.layout, part, str(convx.get_num_threads())]
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


def extra_memory(tag: str, dtype: str, layout: str, part: str, threads: str) -> int:
    """The bytes by which one call that computes a part (y, dx, dw, or a picture) raises the peak of this process."""
    import resource

    convx.set_num_threads(int(threads))
    case = Case(tag, dtype, layout)
    shapes = [(s[0], *s[2:], s[1]) if layout == "NHWC" else s for s in case.shapes]
    x, w, y = (np.full(shape, 0.5, dtype) for shape in shapes)  # every page touched
    tiny = np.full((1, 1, 8, 8), 0.5, np.result_type(dtype, np.float32))  # fft takes no integers
    for algorithm in ("auto", "fft"):  # what is loaded once, scipy.fft with 25 MB, is not the call's
        convx.conv2d(tiny, tiny[..., :3, :3], algorithm=algorithm)
    options = case.options()
    if case.transposed:
        x, y = y, x  # the layer reads the line's y
    name = "conv_transpose" if case.transposed else "conv"
    calls = {"y": lambda: getattr(convx, name)(x, w, out=y, **options),
             "dx": lambda: getattr(convx, f"{name}_grad_input")(y, w, x.shape, out=x, **options),
             "dw": lambda: getattr(convx, f"{name}_grad_weight")(x, y, w.shape, out=w, **options),
             "picture": lambda: convx.correlate(x[0, 0], np.full(case.k, 1 / 9), "same", out=y[0, 0],
                                                overflow="saturate")}
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
        before, peak = status("VmRSS"), lambda: status("VmHWM")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

        before = peak()
    calls[part]()
    return max(0, peak() - before)


def import_row(rounds: int) -> dict:
    """Seconds of `import convx` in a fresh process, in turns with `import numpy`."""
    samples: dict[str, list[float]] = {"numpy": [], "convx": []}
    for _ in range(rounds + 1):  # the first one reads the files from disk
        for name, seconds in samples.items():
            code = f"import time; t = time.perf_counter(); import {name}; print(time.perf_counter() - t)"
            seconds.append(float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                                                check=True).stdout))
    return row("import convx", "convx", {name: seconds[1:] for name, seconds in samples.items()}, None)


# The machine ----------------------------------------------------------------------------------------------------------

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
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    facts = convx.show_config("dict")
    return {"cpu": name, "cpus": os.cpu_count(), "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
            "busy": busy_share(), "convx": facts["version"], "row": facts["kernel row"], "python": facts["python"],
            "versions": versions, "command": " ".join(sys.argv)}


if __name__ == "__main__":
    print(extra_memory(*sys.argv[1:]))
