"""Sphinx: ``sphinx-build -W -b html docs build/docs``, with convx and its extra [docs] installed."""

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

from sphinx.ext.autodoc.mock import mock

import convx

sys.path.insert(0, str(Path(__file__).parent / "_ext"))
from plain_text import without_floor

project, author, version = "convx", "the convx developers", convx.__version__
project_copyright = author
extensions = ["sphinx.ext.autodoc", "sphinx.ext.autosummary", "plain_text", "numpydoc", "myst_parser",
              "sphinx_gallery.gen_gallery"]
exclude_patterns = ["gallery/*"]  # sphinx-gallery reads them
default_role, smartquotes = "py:obj", False  # `name` is code, and words of options keep their quotes
templates_path = ["_templates"]
html_theme = "pydata_sphinx_theme"
html_theme_options = {"navbar_align": "left", "show_toc_level": 2, "secondary_sidebar_items": ["page-toc"]}
html_static_path, html_css_files = ["_static"], ["site.css"]
html_show_sourcelink = False

myst_heading_anchors = 3

# Numpydoc writes the sections of a docstring; members of classes stand on the page of their class.
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # the text says them, in words
add_module_names = False  # the title of a page has it
autodoc_mock_imports = [] if find_spec("torch") else ["torch"]

ROOMS = ("convx", "convx.image", "convx.linop", "convx.matlab", "convx.nn", "convx.nn.zoo", "convx.plot", "convx.torch")
with mock(autodoc_mock_imports):
    modules = {name: importlib.import_module(name) for name in ROOMS}
# What the pages of api.rst list; linop has no list of its own.
autosummary_context = {"exported": {
    name: [word for word in getattr(module, "__all__", ("as_linear_operator", "as_sparse")) if word[0] != "_"
           and word != "zoo"] for name, module in modules.items()},
    "first": {name: without_floor((module.__doc__ or name).splitlines()[0]) for name, module in modules.items()}}

sphinx_gallery_conf = {
    "examples_dirs": "gallery", "gallery_dirs": "auto_gallery", "filename_pattern": r"\.py$",
    "image_scrapers": ("drawings",), "reset_modules": (), "download_all_examples": False, "show_signature": False,
    "min_reported_time": 1e9, "show_memory": False, "remove_config_comments": True, "plot_gallery": True,
    "write_computation_times": False, "within_subsection_order": "FileNameSortKey", "capture_repr": (),
}


def setup(app):
    """Objects of private modules are made by functions: the arguments of their classes are not shown."""
    app.connect("autodoc-process-signature", lambda app, what, name, *rest: (
        ("", None) if what == "class" and "._" in name else None))
