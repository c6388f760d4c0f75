"""Docstrings as they are written: in their prose * multiplies and | stands for an absolute value.

Both mean something else in reStructuredText. They are escaped before numpydoc reads the lines, but not in examples and
not between backquotes. A paragraph that is a formula is shown as it is written, line by line.
"""

import re

FORMULA = re.compile(r"\w[\w\\*]*(\[[^]]*\]|\([^)]*\))? (=|<-) ")
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


def formulas(lines):
    """Paragraphs of the prose that start as ``y[o] = `` and do not end as a sentence become blocks of code."""
    found, paragraph = [], []
    for number, line in enumerate([*lines, ""]):
        if number + 1 < len(lines) and lines[number + 1].strip() and set(lines[number + 1]) == {"-"}:  # a section
            return found + paragraph + lines[number:]
        if line.strip():
            paragraph.append(line)
            continue
        if paragraph and FORMULA.match(paragraph[0]) and not paragraph[-1].endswith("."):
            paragraph = ["::", "", *("    " + re.sub(r"\\([*|])", r"\1", text) for text in paragraph)]
        found, paragraph = [*found, *paragraph, line], []
    return found[:len(found) - 1]


def without_floor(line: str) -> str:
    """The first line of a room, without what only its builders ask."""
    return re.sub(r" \((floor|`import)[^)]*\)", "", line)


def process(app, what, name, obj, options, lines):
    if what == "module" and lines:
        lines[0] = without_floor(lines[0])
    lines[:] = formulas(escaped(lines))


def setup(app):
    app.connect("autodoc-process-docstring", process, priority=400)  # numpydoc has 500
    return {"version": "1", "parallel_read_safe": True}
