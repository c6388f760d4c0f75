"""``convx demo`` (floor 9): filters and a layer on a photograph, each checked against SciPy on the spot.

The reference is scipy.signal.correlate in float64 on a padded copy. A float32 result y passes when, element by element,
|y - reference| <= (L + 2) * eps * (|x| conv |w|) with L products in a sum: the error bound of a dot product.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from pathlib import Path
from time import perf_counter

import numpy as np

import convx

from ._files import Failure, writable, written

ROUNDS, PATIENCE = 7, 1.0  # the best of up to 7 calls is printed; no new call is made after a second
MIXES = {  # colour combinations of the layer's 64 filters: red, green, blue
    "grey": (1 / 3, 1 / 3, 1 / 3), "red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1),
    "red - green": (1, -1, 0), "green - blue": (0, 1, -1), "blue - yellow": (-0.5, -0.5, 1),
    "red - cyan": (1, -0.5, -0.5),
}
STEP, SMOOTH, CURVE = np.array([-1, 0, 1]) / 2, np.array([1, 2, 1]) / 4, np.array([1, -2, 1])
PATTERNS = {  # and the pattern of each
    "mean": np.full((3, 3), 1 / 9), "d/dx": np.outer(SMOOTH, STEP), "d/dy": np.outer(STEP, SMOOTH),
    "diagonal \\": np.array([[-2, -1, 0], [-1, 0, 1], [0, 1, 2]]) / 8,
    "diagonal /": np.array([[0, -1, -2], [1, 0, -1], [2, 1, 0]]) / 8,
    "Laplacian": np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]),
    "dxx - dyy": np.outer(SMOOTH, CURVE) - np.outer(CURVE, SMOOTH), "dxy": np.outer(STEP, STEP),
}


def add(commands) -> None:
    parser = commands.add_parser(
        "demo", help="filter a photograph, check and time every result against SciPy, write a picture sheet",
        description="Runs image filters and a layer of 64 filters on a photograph that comes with convx, checks each "
                    "result against scipy.signal.correlate, prints one table and writes a PNG sheet. Needs Pillow, "
                    "uses no network.")
    parser.add_argument("--out", metavar="FILE",
                        help="the PNG file to write; an existing one is replaced. Default: the first free name of "
                             "convx-demo.png, convx-demo-1.png, ... in the current directory")
    parser.set_defaults(run=lambda options: demo(options.out) and None)


@dataclass(frozen=True)
class Job:
    name: str
    x: np.ndarray  # channels first; the layer in NHWC is transposed on its way
    w: np.ndarray
    options: dict


def photograph(image_module) -> np.ndarray:
    """The picture as float32 values 0 to 1, channels first: (3, height, width)."""
    with (files("convx._demo") / "chelsea.png").open("rb") as file:
        picture = np.asarray(image_module.open(file).convert("RGB"), np.float32)
    return np.ascontiguousarray(picture.transpose(2, 0, 1) / 255)


def jobs(photo: np.ndarray) -> list[Job]:
    """Three filters on each channel (one channel in, a batch of three), and the layer on all of them at once."""
    planes, image = photo[:, None], photo[None]
    t = np.arange(-4, 5)
    bell = np.exp(-t * t / (2 * 2.0**2))
    blur = np.outer(bell, bell) / bell.sum() ** 2
    sharpen = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])
    sobel = 2 * np.stack([np.outer(SMOOTH, STEP), np.outer(STEP, SMOOTH)])
    layer = np.stack([np.multiply.outer(mix, p) for mix in MIXES.values() for p in PATTERNS.values()])
    inside = {"padding": "same", "boundary": "symmetric"}
    return [
        Job("blur, Gaussian 9x9", planes, blur[None, None].astype(np.float32), inside),
        Job("sharpen, 3x3", planes, sharpen[None, None].astype(np.float32), inside),
        Job("edges, Sobel 3x3, both", planes, sobel[:, None].astype(np.float32), inside),
        Job("layer 64 x 3x3x3, NCHW", image, layer.astype(np.float32), {"padding": "same"}),
        Job("layer 64 x 3x3x3, NHWC", image, layer.astype(np.float32), {"padding": "same", "layout": "NHWC"}),
    ]


def timed(call):
    """(result, best seconds)"""
    seconds = []
    while len(seconds) < ROUNDS and sum(seconds) < PATIENCE:
        start = perf_counter()
        result = call()
        seconds.append(perf_counter() - start)
    return result, min(seconds)


def with_scipy(job: Job):
    """float64 reference, the error bound, and SciPy's seconds for the same float32 data (its padding not counted)."""
    from scipy.signal import correlate

    x, w = job.x, job.w
    edge = tuple((k // 2, k // 2) for k in w.shape[2:])
    padded = np.pad(x, ((0, 0), (0, 0), *edge), mode=job.options.get("boundary", "constant"))

    def all_filters(a, b, method):
        return np.stack([[correlate(plane, f, "valid", method)[0] for f in b] for plane in a])

    _, seconds = timed(lambda: all_filters(padded, w, "auto"))
    a, b = padded.astype(np.float64), w.astype(np.float64)
    terms = w[0].size
    bound = (terms + 2) * np.finfo(np.float32).eps * all_filters(abs(a), abs(b), "auto")
    return all_filters(a, b, "direct"), bound, seconds


def with_convx(job: Job):
    """The result with channels first, the algorithm, and the best seconds."""
    x, w = job.x, job.w
    last = job.options.get("layout") == "NHWC"
    if last:
        x, w = (np.ascontiguousarray(a.transpose(0, 2, 3, 1)) for a in (x, w))
    y, seconds = timed(lambda: convx.conv2d(x, w, **job.options))
    return (y.transpose(0, 3, 1, 2) if last else y), convx.explain("conv2d", x, w, **job.options).chosen, seconds


def demo(out: str | None) -> Path:
    """Run, check, print the table, write the sheet; raises Failure with a sentence."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise Failure('Pillow is needed to read and write pictures: pip install "convx-nd[demo]"') from None
    if out:
        if Path(out).suffix.lower() != ".png":
            raise Failure(f"{out}: the sheet is a PNG file, and its name ends in .png")
        writable(out, overwrite=True)

    photo = photograph(Image)
    height, width = photo.shape[1:]
    print(f"convx {convx.__version__}, photograph of {width} x {height} pixels in float32, "
          f"{convx.get_num_threads()} thread(s); best of up to {ROUNDS} calls\n")
    print(f"{'job':<24}{'algorithm':<15}{'largest difference':>18}{'of bound':>10}{'convx':>11}{'SciPy':>12}"
          f"{'ratio':>8}")
    results, wrong, checks = [], [], {}
    for job in jobs(photo):
        key = id(job.x), job.w.tobytes()
        if key not in checks:  # the layer has one reference for both layouts
            checks[key] = with_scipy(job)
        reference, bound, theirs = checks[key]
        y, algorithm, ours = with_convx(job)
        difference = abs(y - reference)
        share = float((difference / np.maximum(bound, np.finfo(float).tiny)).max())
        print(f"{job.name:<24}{algorithm:<15}{difference.max():>18.1e}{share:>10.1%}{ours * 1e3:>8.2f} ms"
              f"{theirs * 1e3:>9.1f} ms{theirs / ours:>7.1f}x")
        if not share <= 1:  # nan is wrong, too
            wrong.append(f"{job.name} with {algorithm}")
        results.append(y)
    if wrong:
        raise Failure(f"results differ from scipy.signal.correlate by more than rounding: {'; '.join(wrong)}")
    print("\nEvery result agrees with scipy.signal.correlate (float64) within the bound of float32 rounding.")
    path = save(sheet(photo, results, Image, ImageDraw, ImageFont), out, Path.cwd())
    print(f"Sheet: {path}")
    return path


def brightened(picture, low, high):
    """Stretched so that these two percentiles become black and white."""
    low, high = np.percentile(picture, (low, high))
    return (picture - low) / max(high - low, 1e-6)


def sheet(photo, results, image_module, draw_module, font_module):
    """Input and filtered pictures in a row, below them the 64 feature maps of the layer as tiles."""
    blur, sharp, edges, maps = results[0][:, 0], results[1][:, 0], results[2], results[3][0]
    margin, gap, label, tile = 24, 12, 110, (150, 100)
    inner = label + 8 * tile[0] + 7 * gap
    wide = (inner - 3 * gap) // 4
    tall = wide * photo.shape[1] // photo.shape[2]
    page = image_module.new("RGB", (inner + 2 * margin, 148 + tall + 8 * (tile[1] + gap) - gap + margin), "white")
    pen = draw_module.Draw(page)
    title, font = font_module.load_default(20), font_module.load_default(14)

    def put(picture, at, size):
        pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
        page.paste(image_module.fromarray(pixels).resize(size, image_module.Resampling.LANCZOS), at)

    pen.text((margin, 16), "convx demo: one photograph, three filters, one layer", "black", title)
    pictures = {"input": photo, "blur, Gaussian 9x9": blur, "sharpened, 3x3": sharp,
                "edges, Sobel magnitude": brightened(np.hypot(edges[:, 0], edges[:, 1]), 0, 99.5)}
    for number, (name, picture) in enumerate(pictures.items()):
        left = margin + number * (wide + gap)
        pen.text((left, 52), name, "black", font)
        put(picture.transpose(1, 2, 0), (left, 74), (wide, tall))
    top = 74 + tall + 24
    pen.text((margin, top), "64 feature maps of the layer 3x3x3: one colour mix per row, one pattern per column; "
                            "each stretched from its 1st to its 99th percentile", "black", font)
    top += 50
    for column, name in enumerate(PATTERNS):
        pen.text((margin + label + column * (tile[0] + gap), top - 22), name, "black", font)
    for number, plane in enumerate(maps):
        row, column = divmod(number, 8)
        at = margin + label + column * (tile[0] + gap), top + row * (tile[1] + gap)
        put(brightened(plane[2:-2, 2:-2], 1, 99), at, tile)
        if column == 0:
            pen.text((margin, at[1] + tile[1] // 2 - 8), list(MIXES)[row], "black", font)
    return page


def save(page, out: str | None, folder: Path) -> Path:
    """The sheet as `out`, which is replaced, or under the first free name."""
    path = Path(out) if out else next(
        free for number in count() if not (free := folder / f"convx-demo{f'-{number}' * (number > 0)}.png").exists())
    with written(path, overwrite=bool(out)) as temporary:
        page.save(temporary, "PNG", optimize=True)
    return path.resolve()
