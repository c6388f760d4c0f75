"""convx against the libraries found on this machine: python benchmarks/compare.py [--quick] [--only P1,P5]

P1   layers, float32, NCHW and NHWC, one call with plain weights       against PyTorch, JAX (the best of their layouts)
P2   3x3 layers, plans with bound weights                              against PyTorch, and onnxruntime
P3   the layers of P1, dX and dW                                       against PyTorch's convolution_backward
P4   the same layers in float64, forward, and dX and dW                against PyTorch
P5   one-channel filters 512^2 to 4096^2, 3 to 31 taps, both dtypes     against OpenCV filter2D
P6   one-channel filters, 63 to 255 taps                               against OpenCV, SciPy's fftconvolve, oaconvolve
P7   uint8 and uint16 pictures, 3 to 15 taps                           against OpenCV
P8   10^6 samples, 5 to 4097 taps; 128^3 voxels, 3^3 to 9^3            against NumPy, SciPy's signal and ndimage
P9   depthwise, grouped, 3-D, dilated, strided, transposed layers       against PyTorch, forward, and dX and dW
P10  pooling, float32, NCHW and NHWC; the gradient of max starts from x    against PyTorch
P11  peak extra memory of one call, in a process of its own            against max(a quarter of the arrays, 16 MB)
P12  the smallest calls                                                against numpy.convolve and OpenCV
P13  compute-bound work on two threads                                 against convx on one thread
P14  import convx, in a fresh process                                  against import numpy

How: all sides of a case take turns (A B A B ...), at least seven rounds; ratios compare the minima of one run, the
median ratio stands beside them. Before each sample a pause lets idle thread pools stop spinning, then one call that is
not timed warms caches and the pool. Every side uses the same number of threads, and the results are compared before
anything is timed. Nothing is installed: peers that are not there are left out, sections without any are, too.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from math import exp, log
from pathlib import Path

import growth
from measuring import busy_share, disagreement, import_row, machine, memory_row, row, timed
from problems_file import Case
from sides import F32, F64, POOLING, SIDES, forget, set_threads

import convx

DENSE = ("first-3x3", "body-64x224", "body-128x56", "body-512x14", "head-1x1", "reduce-1x1", "stem-7x7", "batch-3x3")
LAYERS = (*DENSE, "depthwise-3x3")
BODIES = ("body-64x224", "body-128x56", "body-512x14", "batch-3x3")
OTHERS = ("depthwise-3x3", "depthwise-s2", "grouped-3x3", "dilated-3x3", "strided-3x3", "volume-3x3x3",
          "transposed-4x4")
FILTERS = tuple(f"filter-{h}-k{k}" for h in (512, 1024, 2048, 4096) for k in (3, 5, 7, 9, 11, 15, 21, 31))
LARGE = tuple(f"filter-{h}-k{k}" for h in (1024, 2048) for k in (63, 127, 255))
PICTURES = tuple(f"filter-{h}-k{k}" for h in (512, 1024, 2048) for k in (3, 5, 9, 15))
SIGNALS = tuple(f"signal-1e6-k{k}" for k in (5, 33, 129, 1025, 4097))
VOLUMES = tuple(f"volume-128-k{k}" for k in (3, 5, 9))
POOLS = tuple(f"pool-{image}-{window}" for image in ("n8-56", "112", "28") for window in ("k2-s2", "k3-s2", "k3-s1"))
BUSY = ("body-128x56", "body-512x14", "batch-3x3", "filter-2048-k15")
QUICK = ("first-3x3", "body-512x14", "head-1x1", "reduce-1x1", "stem-7x7", *OTHERS, "filter-512-k3", "filter-512-k9",
         "filter-512-k31", "filter-1024-k15", "filter-1024-k63", "signal-1e6-k129", "volume-128-k3", "pool-28-k2-s2",
         "pool-28-k3-s1")
BOTH, FIRST = ("NCHW", "NHWC"), ("NCHW",)


@dataclass(frozen=True)
class Section:
    """A group of cases, and its targets: for the geometric mean, and for every row."""

    key: str
    title: str
    sides: str  # a name of SIDES, or memory, or import
    tags: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = (F32,)
    layouts: tuple[str, ...] = BOTH
    mean: float | None = None
    floor: float | None = None
    needs: str | None = None  # the peer without which there is nothing to compare


SECTIONS = (
    Section("P1", "layers, float32", "layers", LAYERS, mean=1.5, floor=0.9, needs="torch"),
    Section("P2", "3x3 layers, bound weights", "bound", BODIES, mean=2.2, floor=1.3, needs="torch"),
    Section("P3", "layers, float32, dX and dW", "gradients", LAYERS, mean=1.5, floor=0.9, needs="torch"),
    Section("P4", "layers, float64", "layers", LAYERS, (F64,), mean=3.0, floor=1.0, needs="torch"),
    Section("P4", "layers, float64, dX and dW", "gradients", LAYERS, (F64,), mean=2.0, floor=1.0, needs="torch"),
    Section("P9", "other layers, float32", "layers", OTHERS, mean=1.2, floor=0.9, needs="torch"),
    Section("P9", "other layers, float32, dX and dW", "gradients", OTHERS, mean=1.2, floor=0.9, needs="torch"),
    Section("P5", "one-channel filters", "filters", FILTERS, (F32, F64), FIRST, 2.5, 1.0, "cv2"),
    Section("P6", "one-channel filters, large kernels", "large filters", LARGE, (F32, F64), FIRST, 1.7, 1.0),
    Section("P7", "integer pictures", "images", PICTURES, ("uint8", "uint16"), FIRST, 1.0, 0.7, "cv2"),
    Section("P8", "signals and volumes", "signals", (*SIGNALS, *VOLUMES), (F32,), FIRST, 5.0, 1.0),
    *(Section("P10", f"pooling: {name.replace('_', ' ')}", name, POOLS, mean=1.5, floor=0.9, needs="torch")
      for name in POOLING),
    Section("P13", "two threads against one", "threads", BUSY, layouts=FIRST, mean=1.85),
    Section("P11", "peak extra memory of one call", "memory",
            (*LAYERS, *OTHERS[1:], "filter-2048-k3", "filter-2048-k31", "filter-2048-k127", "signal-1e6-k4097")),
    Section("P11", "peak extra memory of a filter of a picture", "memory", ("filter-4096-k3", "filter-4096-k15"),
            ("uint8",), FIRST),
    Section("P11", "peak extra memory of dX and of dW", "memory", (*LAYERS, *OTHERS[1:])),
    Section("P12", "the smallest calls", "small", ("tiny-32-k3",)),
    Section("P14", "import convx", "import"),
)


def rows_of(section: Section, rounds: int, tags):
    """One dictionary a row."""
    if section.sides == "import":
        yield {**import_row(rounds), "tag": "", "import": True}
        return
    for dtype in section.dtypes:
        for tag in tags:
            if section.sides == "memory":
                parts = ("dx", "dw") if "dX" in section.title else ("y",)
                if section.dtypes == ("uint8",):
                    parts = ("picture",)
                layouts = section.layouts if len(Case(tag, dtype, "NCHW").k) > 1 else FIRST
                yield from (memory_row(Case(tag, dtype, layout), part) for layout in layouts for part in parts)
                continue
            for contest in SIDES[section.sides](tag, dtype, section.layouts):
                sides = {**contest.ours, **contest.peers}
                wrong = disagreement(sides, contest.tolerance)
                if wrong:
                    yield {"case": contest.label, "tag": tag, "wrong": wrong}
                    continue
                samples = timed(sides, rounds)
                peers = {name: samples[name] for name in contest.peers}
                for name in contest.ours:
                    layout = f" {name.split()[1]}" if len(contest.ours) > 1 else ""
                    yield {**row(contest.label + layout, name, {name: samples[name], **peers}, contest.products),
                           "tag": tag, "limit": contest.limit, **contest.more}
            forget()


# The report -----------------------------------------------------------------------------------------------------------

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


def said(verdict: dict, name: str, met: bool, target: str, rows=()) -> None:
    verdict[name] = met
    print(f"  target: {target}: {'met' if met else 'MISSED'}{': ' + ', '.join(rows) if rows else ''}")


def report(section: Section, rows: list[dict], judged: bool) -> dict:
    """Print the summary lines of a section (no verdicts after a trial run); what they say, as a dictionary."""
    good = [r for r in rows if "wrong" not in r]
    verdict: dict = {"wrong": len(rows) - len(good)}
    sound = not verdict["wrong"]
    if section.sides == "memory":
        over = [r["case"] for r in good if r["extra"] > r["limit"]]
        said(verdict, "met", sound and not over, "no row above its limit", over)
    compared = [r for r in good if r.get("ratio")]
    if not compared or not judged:
        return verdict
    if section.sides == "import":
        ours, numpy = compared[0]["convx"], compared[0]["peer"]
        said(verdict, "met", ours <= 1.3 * numpy + 0.05, "1.3 times NumPy's and 50 ms")
        return verdict
    if section.sides == "small":
        slow = [r["case"] for r in compared if r["convx"] > r["limit"] and r["ratio"] < r["factor"]]
        said(verdict, "met", not slow, "4, 5 and 1.5 us, or 4 times NumPy's and once OpenCV's", slow)
        return verdict
    parts = {"": [r for r in compared if not r.get("engine")], "engine": [r for r in compared if r.get("engine")]}
    for part, some in parts.items():
        if not some:
            continue
        mean = exp(sum(log(r["ratio"]) for r in some) / len(some))
        worst = min(some, key=lambda r: r["ratio"])
        verdict |= {f"{part}mean": mean, f"{part}worst": worst["ratio"], f"{part}worst_case": worst["case"]}
        print(f"  {part + ': ' if part else ''}geometric mean {mean:.2f}, worst row {worst['ratio']:.2f} "
              f"({worst['case']})")
        aim = 1.5 if part else section.mean
        if aim:
            said(verdict, f"met_{part}mean", sound and mean >= aim, f"geometric mean {aim:.2f}")
    if section.floor:
        low = [r["case"] for r in compared if r["ratio"] < section.floor]
        verdict["below"] = low
        said(verdict, "met_floor", sound and not low, f"no row below {section.floor:.2f}", low)
    return verdict


def run(section: Section, rounds: int, quick: bool, bar) -> dict:
    tags = [tag for tag in section.tags if not quick or tag in QUICK or section.sides == "small"]
    print(f"\n{section.key}  {section.title}")
    if section.sides == "memory":
        print(f"  {'case':<34}{'arrays MB':>12}{'extra MB':>12}{'limit MB':>12}")
    else:
        print(f"  {'case':<34}{'convx ms':>12}{'peer ms':>12}{'ratio':>8}{'(median)':>10}{'GF/s':>9}  peer")
    rows = []
    for r in rows_of(section, rounds, tags):
        rows.append(r)
        if "wrong" in r:
            line = f"  WRONG: {r['wrong']}"
        elif section.sides == "memory":
            line = "".join(f"{r[name] / 1e6:>12.1f}" for name in ("arrays", "extra", "limit"))
        else:
            ratios = f"{r['ratio']:>8.2f}{r['median_ratio']:>10.2f}" if r["ratio"] else " " * 18
            speed = f"{r['gflops']:>9.0f}" if r["gflops"] else " " * 9
            line = f"{milliseconds(r['convx']):>12}{milliseconds(r['peer']):>12}{ratios}{speed}  {r['peer_name'] or ''}"
        bar(f"  {r['case']:<34}{line}")
    return {"key": section.key, "title": section.title, "rows": rows, "verdict": report(section, rows, not quick)}


def missing(section: Section, threads: int) -> str | None:
    """Why a section cannot run here."""
    if section.needs and not find_spec(section.needs):
        return f"{section.needs} is not installed"
    if section.sides == "threads" and threads < 2:
        return "it needs two threads"
    if section.sides == "memory" and not Path("/proc/self/status").exists():
        return "it reads /proc"
    return None


def progress(total: int):
    """(called with each line, called when a section is done): lines go above a bar if a terminal shows it."""
    if sys.stderr.isatty() and find_spec("tqdm"):
        from tqdm import tqdm

        bar = tqdm(total=total, unit="section")
        return (lambda line: tqdm.write(line, file=sys.stdout)), bar.update
    return (lambda line: print(line, flush=True)), (lambda: None)


def main() -> int:
    keys = list(dict.fromkeys(s.key for s in SECTIONS))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few small problems, three rounds: does it work at all")
    parser.add_argument("--only", metavar="P1,P5", help=f"these sections of {', '.join(keys)}")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each case, at least 7 (default 9)")
    parser.add_argument("--threads", type=int, help="threads of every side (default: what convx uses here)")
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument("--plot", metavar="PNG", help="draw time against problem size for the main families")
    options = parser.parse_args()
    wanted = options.only.upper().split(",") if options.only else keys
    if unknown := sorted(set(wanted) - set(keys)):
        parser.error(f"--only {','.join(unknown)}: the sections are {', '.join(keys)}")
    if options.rounds < 7:
        parser.error(f"--rounds {options.rounds}: at least 7")
    rounds = 3 if options.quick else options.rounds
    facts = machine()
    warn_if_busy(facts)
    facts["threads"] = threads = options.threads or convx.get_num_threads()
    set_threads(threads)
    print(f"{facts['cpu']}, {facts['cpus']} CPUs, {threads} thread(s) on every side, {rounds} rounds")
    print(f"convx {facts['convx']} (row {facts['row']}), Python {facts['python']}, "
          + ", ".join(f"{name} {number}" for name, number in facts["versions"].items()))
    if options.quick:
        print("--quick: a trial run; its figures are not for publication")
    sections = [s for s in SECTIONS if s.key in wanted]
    line, done_one = progress(len(sections))
    done, curves = [], None
    for section in sections:
        reason = missing(section, threads)
        if reason:
            print(f"\n{section.key}  {section.title}: left out, {reason}")
        else:
            done.append(run(section, rounds, options.quick, line))
        done_one()
    if options.plot:
        curves = growth.curves(3 if options.quick else 5, options.quick)
        growth.draw(curves, options.plot, f"{facts['cpu']}, {threads} threads, convx {facts['convx']} ({facts['row']})")
        print(f"\nplot: {options.plot}")
    after = busy_share()
    if after is not None and after > 0.05:
        print("\nWARNING: at the end the machine is busy with other work.")
    if options.json:
        text = json.dumps({"machine": facts, "rounds": rounds, "quick": options.quick, "busy_after": after,
                           "sections": done, "curves": curves}, indent=1)
        Path(options.json).write_text(text + "\n")
    return 1 if any(s["verdict"].get("wrong") for s in done) else 0


if __name__ == "__main__":
    sys.exit(main())
