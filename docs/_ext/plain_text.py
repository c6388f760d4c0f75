"""Docstrings as they are written: in their prose * multiplies and | stands for an absolute value.

Both mean something else in reStructuredText. They are escaped before numpydoc reads the lines, but not in examples and
not between backquotes.
"""

import re

LITERAL = re.compile(r"(``.+?``|`[^`]+`)")


def escaped(lines):
    found = []
    for number, line in enumerate(lines):
        if line.strip() == "Examples" and lines[number + 1:number + 2] and set(lines[number + 1].strip()) == {"-"}:
            return found + lines[number:]
        parts = LITERAL.split(line)
        parts[::2] = [re.sub(r"(?<!\\)([*|])", r"\\\1", part) for part in parts[::2]]
        found.append("".join(parts))
    return found


def process(app, what, name, obj, options, lines):
    lines[:] = escaped(lines)


def setup(app):
    app.connect("autodoc-process-docstring", process, priority=400)  # numpydoc has 500
    return {"version": "1", "parallel_read_safe": True}
