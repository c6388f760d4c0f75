"""What the gallery shows of an example: matplotlib's Figures, pictures as arrays of bytes, and animations.

sphinx-gallery looks for figures of pyplot; those of convx.plot do not belong to it. Taken are new or changed values of
the example's variables, in their order: a Figure, an array of uint8 (a picture), a Path that ends in .gif.
"""

import shutil
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from sphinx_gallery.scrapers import figure_rst

SHOWN = {}  # example: what it has shown


def _picture(value) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim in (2, 3)


def drawings(block, block_vars, gallery_conf):
    if block[0] != "code":
        return ""
    names, paths = block_vars["example_globals"], []
    shown = SHOWN.setdefault(block_vars["src_file"], {})
    for name, value in list(names.items()):
        if name.startswith("_") or shown.get(name) is value:
            continue
        path = None
        if isinstance(value, Figure):
            path = Path(next(block_vars["image_path_iterator"]))
            value.savefig(path)
        elif _picture(value):
            path = Path(next(block_vars["image_path_iterator"]))
            Image.fromarray(value).save(path)
        elif isinstance(value, Path) and value.suffix == ".gif":
            path = Path(next(block_vars["image_path_iterator"])).with_suffix(".gif")
            shutil.copy(value, path)
        if path is not None:
            shown[name] = value
            paths.append(path)
    return figure_rst([str(path) for path in paths], gallery_conf["src_dir"]) if paths else ""


def _get_sg_image_scraper():
    return drawings
