"""
Benchmarks
==========

The tables of the README, drawn. ``benchmarks/compare.py`` measures them, ``benchmarks/tables.py`` writes them.
"""

from pathlib import Path

from matplotlib.figure import Figure

README = (Path.cwd().parents[1] / "README.md").read_text(encoding="utf-8")


def table(head):
    """The cells of the table whose first line starts so, row by row, without that line."""
    lines = README[README.index(f"\n| {head}") + 1:].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return rows[0], rows[2:]


# %%
# How many times as long the peer takes: the geometric mean of the rows of a section, and its worst row.
_, rows = table("section of `compare.py`")
sections = Figure(figsize=(9, 0.34 * len(rows) + 1), dpi=120, layout="constrained")
axes = sections.subplots()
names, means, worst = [name for name, *_ in rows], [float(row[1]) for row in rows], [float(row[2]) for row in rows]
axes.barh(names, [mean - 1 for mean in means], left=1, color=["#6fbf83" if mean >= 1 else "#f7b267" for mean in means])
axes.plot(worst, names, "|", color="#1f2933", markersize=11, label="worst row")
axes.axvline(1, color="#1f2933", linewidth=0.8)
axes.set_xscale("log", base=2)
axes.xaxis.set_major_formatter("{x:g}")
axes.invert_yaxis()
axes.set_xlabel("peer's time / convx's")
axes.legend(loc="lower right")

# %%
# One-channel filters.
head, rows = table("N, dtype")
taps = [int(cell.removeprefix("k = ")) for cell in head[1:]]
filters = Figure(figsize=(9, 4.2), dpi=120, layout="constrained")
for axes, dtype in zip(filters.subplots(1, 2, sharey=True), ("float32", "float64"), strict=True):
    for number, (name, *cells) in enumerate(row for row in rows if row[0].endswith(dtype)):
        ours, theirs = zip(*([float(time) for time in cell.split("/")] for cell in cells), strict=True)
        axes.plot(taps, ours, "o-", color=f"C{number}", markersize=4, label=name.split(",")[0])
        axes.plot(taps, theirs, "s:", color=f"C{number}", markersize=3)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks(taps)
    axes.set_title(f"{dtype}: convx (lines), OpenCV (dots)", fontsize=10)
    axes.set_xlabel("taps along a side")
    axes.legend(title="picture, N x N")
filters.axes[0].set_ylabel("milliseconds")
