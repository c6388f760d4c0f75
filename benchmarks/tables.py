"""README's tables from what `compare.py --json FILE` wrote: python benchmarks/tables.py FILE [--write README.md]

Prints them, and below them the figures of README's sentences. With --write the tables of that file are filled in: a
table is found by its head (of equal heads in order), a row by its first cell, and rows that FILE has no times for (of
sections that were not run) stay as they are.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
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
SIDES = "convx {} NCHW", "convx {} NHWC", "PyTorch {}"
# Pictures by size, dtype and taps, "convx / OpenCV" in each cell.
PICTURES = {"one-channel filters": (DTYPES, (512, 1024, 2048, 4096), (3, 5, 9, 15, 21, 31)),
            "integer pictures": (("uint8", "uint16"), (512, 1024, 2048), (3, 5, 9, 15))}


def ms(seconds: float) -> str:
    """Milliseconds; below a tenth with two digits that count."""
    value = seconds * 1e3
    return f"{value:#.2g}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def known(make, items) -> list:
    """The rows that make(item) finds all times for."""
    rows = []
    for item in items:
        try:
            rows.append(make(item))
        except KeyError:
            continue
    return rows


def tables(sections) -> list:
    """(head, rows) of each table, in README's order."""
    rows = {(section["title"], row["case"]): row for section in sections for row in section["rows"]}

    def times(title, tag, dtype):
        """convx NCHW, convx NHWC, peer."""
        pair = [rows[title, f"{tag} {dtype} {layout}"] for layout in ("NCHW", "NHWC")]
        return ms(pair[0]["convx"]), ms(pair[1]["convx"]), ms(pair[0]["peer"])

    def layer(end):
        return lambda tag: (LAYERS[tag], *(cell for dtype in DTYPES
                                           for cell in times(f"layers, {dtype}{end}", tag, dtype)))

    def other(tag):
        title = "other layers, float32"
        return OTHERS[tag], *times(title, tag, "float32"), *times(f"{title}, dX and dW", tag, "float32")

    def picture(title):
        def make(item):
            side, dtype = item
            found = [rows[title, f"filter-{side}-k{k} {dtype}"] for k in PICTURES[title][2]]
            return f"{side}, {dtype}", *(f"{ms(row['convx'])} / {ms(row['peer'])}" for row in found)
        return make

    verdicts = [(f"{section['key']} {section['title']}", section["verdict"]) for section in sections]
    found = [(("section of `compare.py`", "geometric mean of peer's time / convx's", "worst row"),
              [(name, f"{said['mean']:.2f}", f"{said['worst']:.2f}") for name, said in verdicts if "mean" in said])]
    head = ("layer", *(side.format(name) for name in ("f32", "f64") for side in SIDES))
    found += [(head, known(layer(end), LAYERS)) for end in ("", ", dX and dW")]
    head = "layer", "forward NCHW", "forward NHWC", "PyTorch", "dX + dW NCHW", "dX + dW NHWC", "PyTorch"
    found.append((head, known(other, OTHERS)))
    for title, (dtypes, sizes, taps) in PICTURES.items():
        found.append((("N, dtype", *(f"k = {k}" for k in taps)),
                      known(picture(title), [(side, dtype) for dtype in dtypes for side in sizes])))
    for title in ("one-channel filters, large kernels", "signals and volumes", "the smallest calls"):
        found.append(((title, "convx", "best peer", "which"),
                      [(case, ms(row["convx"]), ms(row["peer"]), row["peer_name"])
                       for (section, case), row in rows.items() if section == title and row.get("peer")]))
    return found


def sentences(sections) -> list[str]:
    """The figures that README has outside its tables."""
    said = []
    for section in sections:
        rows = [row for row in section["rows"] if "wrong" not in row]
        if section["key"] == "P13":
            ratios = sorted(row["ratio"] for row in rows)
            said.append(f"two threads: {ratios[0]:.2f} to {ratios[-1]:.2f} times as fast as one")
        elif section["key"] == "P14":
            said += [f"import convx: {ms(row['convx'])} ms, numpy {ms(row['peer'])}" for row in rows]
        elif section["key"] == "P11":
            said += [f"extra memory: {row['case']}: {row['extra'] / 1e6:.1f} MB" for row in rows
                     if row["tag"] in ("signal-1e6-k4097", "filter-4096-k15")]
    return said


def line(cells) -> str:
    return "| " + " | ".join(cells) + " |"


def filled(text: str, found) -> str:
    """The text with the rows of its tables replaced."""
    lines, met = text.splitlines(), Counter()
    for head, rows in found:
        first = line(head)
        starts = [at for at, written in enumerate(lines) if written == first]
        if met[first] == len(starts):
            raise SystemExit(f"there is no table (or no further one) with the head {first}")
        start = starts[met[first]] + 2
        met[first] += 1
        end = next(at for at in range(start, len(lines) + 1) if at == len(lines) or not lines[at].startswith("|"))
        known = {written.split(" | ")[0]: written for written in lines[start:end]}
        known |= {line(row).split(" | ")[0]: line(row) for row in rows}
        lines[start:end] = known.values()
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("--write", metavar="README.md", type=Path, help="fill the tables of this file in")
    options = parser.parse_args()
    measured = json.loads(options.file.read_text(encoding="utf-8"))
    found = tables(measured["sections"])
    for head, rows in found:
        if rows:
            print("", line(head), "|---" * len(head) + "|", *map(line, rows), sep="\n")
    print("", *sentences(measured["sections"]), sep="\n")
    if options.write:
        if measured["quick"]:
            parser.error(f"{options.file} is of a trial run (--quick); its figures are not for publication")
        options.write.write_text(filled(options.write.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
