"""``convx filter`` and ``convx kernels`` (floor 9): picture files through `convx.image`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from .. import image
from ._files import Failure, writable
from ._pictures import SUFFIXES, fitting, read, write


def add(commands) -> None:
    parser = commands.add_parser(
        "filter", help="filter a picture, or all pictures of a folder, with a kernel",
        description="Filters IN with a named kernel or a matrix and writes OUT, with the depth, the transparency and "
                    "the colour profile of IN. If IN is a folder, every picture in it goes into the folder OUT.")
    parser.add_argument("source", metavar="IN", help="a PNG, JPEG, TIFF, BMP or WEBP file, or a folder of them")
    parser.add_argument("target", metavar="OUT", help="the file, or the folder, to write")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--kernel", metavar="NAME[:key=value,...]",
                       help="a kernel of `convx kernels`, for example gaussian:sigma=2.5 or shift:direction=up-left")
    which.add_argument("--matrix", type=matrix, metavar="ROWS",
                       help='numbers, rows parted by semicolons: "0 -1 0; -1 5 -1; 0 -1 0"')
    parser.add_argument("--divisor", type=float, help="the sums are divided by it (default: 1)")
    parser.add_argument("--offset", type=float, default=0.0, help="added afterwards, 0 to 255 for 8 bits (default: 0)")
    parser.add_argument("--normalise", action="store_true", help="choose divisor and offset so that brightness stays")
    parser.add_argument("--border", choices=image.BORDERS, default="edge", help="what lies outside (default: edge)")
    parser.add_argument("--cval", type=float, default=0.0, help="the value outside with --border constant")
    parser.add_argument("--channels", type=numbers, metavar="0,1,...", help="filter only these, counted from 0")
    parser.add_argument("--no-alpha", action="store_true", help="do not weight colours by transparency")
    parser.add_argument("--quality", type=int, default=95, help="of JPEG and WEBP files, 1 to 100 (default: 95)")
    parser.add_argument("--huge", action="store_true", help="read pictures of any number of pixels")
    parser.add_argument("--force", action="store_true", help="replace files that exist")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, no report")
    parser.set_defaults(run=run)
    names = commands.add_parser("kernels", help="list the named kernels",
                                description="Lists the kernels of `convx filter --kernel`; with a name, its matrix.")
    names.add_argument("name", nargs="?", metavar="NAME[:key=value,...]", help="print the matrix of this one")
    names.set_defaults(run=listed)


def matrix(text):
    try:
        rows = [[float(word) for word in row.replace(",", " ").split()] for row in text.split(";")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} are no rows of numbers such as '0 -1 0; -1 5 -1; 0 -1 0'") from None
    if len({len(row) for row in rows}) != 1 or not rows[0]:
        raise argparse.ArgumentTypeError(f"the rows have {', '.join(str(len(row)) for row in rows)} numbers")
    return np.array(rows)


def numbers(text):
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 0,2") from None


def named(text) -> np.ndarray:
    """The kernel of NAME:key=value,key=value."""
    name, _, rest = text.partition(":")
    parameters = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise Failure(f"kernel {text!r}: {part!r} is not of the form key=value")
        try:
            parameters[key] = float(value)
        except ValueError:
            parameters[key] = value
    try:
        return image.kernel(name, **parameters)
    except (ValueError, TypeError) as error:
        raise Failure(str(error)) from None


def listed(options) -> None:
    if options.name:
        for row in named(options.name):
            print("  ".join(f"{value:9.5g}" for value in row))
        return
    width = max(map(len, image.kernels()))
    for name, text in image.kernels().items():
        print(f"{name:<{width}}  {text}")


def run(options) -> int:
    if not 1 <= options.quality <= 100:
        raise Failure(f"--quality {options.quality}: it must lie from 1 to 100")
    w = options.matrix if options.kernel is None else named(options.kernel)
    source, target = Path(options.source), Path(options.target)
    if not source.is_dir():
        one(source, target, w, options)
        return 0
    return folder(source, target, w, options)


def one(source, target, w, options) -> None:
    writable(target, options.force)
    picture = read(source, options.huge)
    fitting(target, picture)
    try:
        picture.frames = [image.apply(
            frame, w, divisor=options.divisor, offset=options.offset, normalise=options.normalise,
            border=options.border, cval=options.cval, channels=options.channels,
            alpha=None if options.no_alpha else picture.alpha, channel_axis=None if frame.ndim == 2 else -1)
            for frame in picture.frames]
    except (ValueError, TypeError) as error:
        raise Failure(f"{source}: {error}") from None
    except MemoryError:
        raise Failure(f"{source}: there is not enough memory to filter it") from None
    if not picture.frames[0].size:
        raise Failure(f"{source}: nothing is left of it")
    write(target, picture, options.force, options.quality)


def folder(source, target, w, options) -> int:
    files = sorted(f for f in source.iterdir() if f.is_file() and f.suffix.lower() in SUFFIXES and f.name[0] != ".")
    if not files:
        raise Failure(f"{source} holds no {', '.join(SUFFIXES)} files")
    if target.exists() and not target.is_dir():
        raise Failure(f"{source} is a folder, but {target} is a file")
    there = [f.name for f in files if (target / f.name).exists()]
    if there and not options.force:
        raise Failure(f"{target} has {len(there)} of the {len(files)} files already ({there[0]} ...); "
                      "--force replaces them")
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"folder {target} cannot be made: {error.strerror}") from None
    failures = []
    for file in progress(files, options.quiet):
        try:
            one(file, target / file.name, w, options)
        except Failure as failure:
            failures.append(str(failure))
    if failures:
        raise Failure(f"{len(failures)} of {len(files)} pictures failed:\n  " + "\n  ".join(failures))
    if not options.quiet:
        print(f"{len(files)} picture{'s' * (len(files) != 1)} in {target}")
    return 0


def progress(files, quiet):
    try:
        from tqdm import tqdm
    except ImportError:
        return files
    return tqdm(files, unit="picture", disable=True if quiet else None)  # None: not unless there is a terminal
