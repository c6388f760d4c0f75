"""Reading and writing picture files with Pillow, and 16-bit colour with OpenCV (floor 9)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ._files import Failure, written

SUFFIXES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP",
            ".webp": "WEBP"}
KEPT = ("icc_profile", "dpi")  # what is handed on from file to file, beside EXIF


def pillow():
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise Failure('Pillow is needed to read and write pictures: pip install "convx-nd[image]"') from None
    return Image, ImageOps


def opencv(path):
    try:
        import cv2
    except ImportError:
        raise Failure(f"{path} has 16 bits per colour, which needs OpenCV: pip install \"convx-nd[image]\"") from None
    return cv2


@dataclass
class Picture:
    """The frames of a file as arrays (H, W) or (H, W, C), which channel is alpha, and what belongs to the file."""

    frames: list[np.ndarray]
    alpha: int | None
    mode: str
    info: dict


def read(path, huge=False) -> Picture:
    """A picture file; raises Failure with a sentence when it is none, is damaged, or is too large."""
    image_module, operations = pillow()
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error" if not huge else "ignore", image_module.DecompressionBombWarning)
            limit = image_module.MAX_IMAGE_PIXELS
            try:
                image_module.MAX_IMAGE_PIXELS = None if huge else limit
                with image_module.open(path) as file:
                    return _decoded(path, file, operations)
            finally:
                image_module.MAX_IMAGE_PIXELS = limit
    except (image_module.DecompressionBombWarning, image_module.DecompressionBombError):
        raise Failure(f"{path} claims more than {limit} pixels; --huge reads it all the same") from None
    except image_module.UnidentifiedImageError:
        raise Failure(f"{path} is not a picture, or of a kind that Pillow cannot read") from None
    except FileNotFoundError:
        raise Failure(f"there is no file {path}") from None
    except MemoryError:
        raise Failure(f"{path} does not fit into memory") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow raises for damaged files
        raise Failure(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _decoded(path, file, operations) -> Picture:
    count = getattr(file, "n_frames", 1)
    if count > 1 and file.format != "TIFF":
        raise Failure(f"{path} has {count} frames; only TIFF files may have more than one")
    raw = str(file.tile[0].args if file.tile else "")
    info = {key: file.info[key] for key in KEPT if key in file.info}
    exif = file.getexif()
    if file.mode in ("RGB", "RGBA", "LA") and ";16" in raw:  # Pillow would drop the lower eight bits
        return _deep(path, info)
    frames, mode = [], None
    for number in range(count):
        file.seek(number)
        frame = operations.exif_transpose(file)
        if frame.mode in ("P", "PA"):
            frame = frame.convert("RGBA" if "transparency" in frame.info or frame.mode == "PA" else "RGB")
        elif frame.mode == "1":
            frame = frame.convert("L")
        elif frame.mode in ("YCbCr", "LAB", "HSV", "RGBX"):
            frame = frame.convert("RGB")
        mode = mode or frame.mode
        frames.append(_values(path, frame))
    exif.pop(0x0112, None)  # the pixels stand upright now
    if len(exif):
        info["exif"] = exif.tobytes()
    return Picture(frames, {"LA": 1, "RGBA": 3}.get(mode), mode, info)


def _values(path, frame):
    values = np.array(frame)
    if frame.mode.startswith("I;16"):
        return values.astype(np.uint16)
    if frame.mode == "I" and values.size and 0 <= values.min() and values.max() < 2**16:
        return values.astype(np.uint16)
    if values.dtype not in (np.uint8, np.float32, np.int32):
        raise Failure(f"{path}: pictures of mode {frame.mode} cannot be filtered")
    return values


def _deep(path, info) -> Picture:
    cv2 = opencv(path)
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise Failure(f"{path} cannot be read as a picture of 16 bits per colour")
    values = values[..., [2, 1, 0, 3][:values.shape[-1]]]  # OpenCV keeps blue first
    return Picture([values], 3 if values.shape[-1] == 4 else None, "16-bit colour", info)


def write(path, picture: Picture, overwrite: bool, quality: int) -> None:
    """The frames into a file whose suffix tells the format; raises Failure before anything is written."""
    path = Path(path)
    kind = fitting(path, picture)
    with written(path, overwrite) as temporary:
        if picture.mode == "16-bit colour":
            cv2 = opencv(path)
            values = picture.frames[0][..., [2, 1, 0, 3][:picture.frames[0].shape[-1]]]
            done, code = cv2.imencode(path.suffix, values)
            if not done:
                raise Failure(f"{path} could not be encoded")
            temporary.write_bytes(code.tobytes())
            return
        image_module, _ = pillow()
        first, *rest = (image_module.fromarray(frame) if picture.mode != "CMYK" else
                        image_module.fromarray(frame, "CMYK") for frame in picture.frames)
        options = {"quality": quality} if kind in ("JPEG", "WEBP") else {}
        if rest:
            options |= {"save_all": True, "append_images": rest}
        first.save(temporary, kind, **options, **picture.info)


def fitting(path, picture: Picture) -> str:
    """The format of the suffix, if it can hold the picture."""
    kind = SUFFIXES.get(Path(path).suffix.lower())
    if kind is None:
        raise Failure(f"{path}: the suffix is none of {', '.join(SUFFIXES)}")
    values = picture.frames[0]
    deep, channels = values.dtype != np.uint8, 1 if values.ndim == 2 else values.shape[-1]
    if deep and kind not in ("PNG", "TIFF"):
        raise Failure(f"{path}: {kind} keeps 8 bits; the picture has {8 * values.dtype.itemsize}. Use PNG or TIFF")
    if values.dtype in (np.float32, np.int32) and kind != "TIFF":
        raise Failure(f"{path}: {kind} cannot keep {values.dtype} pixels; use TIFF")
    if picture.alpha is not None and kind in ("JPEG", "BMP"):
        raise Failure(f"{path}: {kind} has no transparency; use PNG, TIFF or WEBP")
    if channels == 4 and picture.alpha is None and kind not in ("JPEG", "TIFF"):
        raise Failure(f"{path}: {kind} cannot keep CMYK; use JPEG or TIFF")
    if len(picture.frames) > 1 and kind != "TIFF":
        raise Failure(f"{path}: {kind} keeps one picture of {len(picture.frames)}; use TIFF")
    return kind
