"""README's tables from what `compare.py --json FILE` wrote: python benchmarks/tables.py FILE"""

from __future__ import annotations

import json
import sys
from pathlib import Path

DTYPES = "float32", "float64"
LAYERS = {
    "first-3x3": "first 3x3: 1, 3, 224, 64", "body-64x224": "3x3: 1, 64, 224, 64",
    "body-128x56": "3x3: 1, 128, 56, 256", "body-512x14": "3x3: 1, 512, 14, 512",
    "head-1x1": "1x1: 1, 1024, 13, 425", "reduce-1x1": "1x1: 1, 256, 56, 64", "stem-7x7": "7x7 /2: 1, 3, 224, 64",
    "batch-3x3": "3x3: 8, 64, 56, 64", "depthwise-3x3": "depthwise 3x3: 1, 256, 56",
}
OTHERS = {
    "depthwise-s2": "depthwise 3x3 /2: 256, 56", "grouped-3x3": "3x3, 32 groups of 4: 128, 56",
    "dilated-3x3": "3x3, dilation 2: 128, 56, 128", "strided-3x3": "3x3 /2: 128, 56, 256",
    "volume-3x3x3": "3x3x3: 32, 16 x 56 x 56, 32", "transposed-4x4": "transposed 4x4 /2: 128, 28, 64",
}


def ms(seconds: float) -> str:
    value = seconds * 1e3
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def table(head, rows) -> None:
    print("\n| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


def main(path: str) -> None:
    sections = json.loads(Path(path).read_text())["sections"]
    rows = {}  # (title, case) -> row
    for section in sections:
        rows |= {(section["title"], row["case"]): row for row in section["rows"]}

    def times(title, tag, dtype):
        """convx NCHW, convx NHWC, peer."""
        pair = [rows[title, f"{tag} {dtype} {layout}"] for layout in ("NCHW", "NHWC")]
        return [ms(pair[0]["convx"]), ms(pair[1]["convx"]), ms(pair[0]["peer"])]

    summary = []
    for section in sections:
        verdict = section["verdict"]
        if "mean" in verdict:
            name = f"{section['key']} {section['title']}"
            summary.append((name, f"{verdict['mean']:.2f}", f"{verdict['worst']:.2f}"))
    table(("section of `compare.py`", "geometric mean of peer's time / convx's", "worst row"), summary)
    sides = ("convx {} NCHW", "convx {} NHWC", "PyTorch {}")
    head = ("layer", *(side.format(name) for name in ("f32", "f64") for side in sides))
    for end in ("", ", dX and dW"):
        table(head, [(text, *(cell for dtype in DTYPES for cell in times(f"layers, {dtype}{end}", tag, dtype)))
                     for tag, text in LAYERS.items()])
    table(("layer", "forward NCHW", "forward NHWC", "PyTorch", "dX + dW NCHW", "dX + dW NHWC", "PyTorch"),
          [(text, *times("other layers, float32", tag, "float32"),
            *times("other layers, float32, dX and dW", tag, "float32")) for tag, text in OTHERS.items()])
    taps = (3, 5, 9, 15, 21, 31)
    filters = []
    for dtype in DTYPES:
        for side in (512, 1024, 2048, 4096):
            found = [rows["one-channel filters", f"filter-{side}-k{k} {dtype}"] for k in taps]
            filters.append((f"{side}, {dtype}", *(f"{ms(r['convx'])} / {ms(r['peer'])}" for r in found)))
    table(("N, dtype", *(f"k = {k}" for k in taps)), filters)
    for title in ("one-channel filters, large kernels", "integer pictures", "signals and volumes",
                  "the smallest calls"):
        table((title, "convx", "best peer", "which"),
              [(case, ms(row["convx"]), ms(row["peer"]), row["peer_name"]) for (section, case), row in rows.items()
               if section == title and row.get("peer")])


if __name__ == "__main__":
    main(sys.argv[1])
