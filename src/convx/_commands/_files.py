"""Files that commands write, and how a command fails (floor 9)."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path


class Failure(Exception):
    """The work cannot be done, or a result is wrong; the message is the sentence for the user."""


def writable(path, overwrite: bool) -> Path:
    """The path, if a file can come to stand there: its folder exists, and nothing is lost."""
    path = Path(path)
    if not path.parent.is_dir():
        raise Failure(f"there is no folder {path.parent} to write {path.name} into")
    if path.is_dir():
        raise Failure(f"{path} is a folder")
    if path.exists() and not overwrite:
        raise Failure(f"{path} exists already; --force replaces it")
    return path


@contextmanager
def written(path, overwrite: bool):
    """A temporary name in the same folder, which takes the name `path` when the block has ended well.

    So no file is ever half written. Without `overwrite` a file that turns up in the meantime stays.
    """
    path = writable(path, overwrite)
    temporary = path.with_name(f".{path.stem}-{os.getpid()}{path.suffix}")  # the suffix tells some libraries the format
    taken = None
    try:
        yield temporary
        if not overwrite:
            path.open("xb").close()  # takes the name, whoever else wants it
            taken = path
        os.replace(temporary, path)
        taken = None
    except FileExistsError:
        raise Failure(f"{path} exists already; --force replaces it") from None
    except OSError as error:
        raise Failure(f"{path} could not be written: {error.strerror or error}") from None
    finally:
        for left in (temporary, taken):
            if left is not None:
                left.unlink(missing_ok=True)
