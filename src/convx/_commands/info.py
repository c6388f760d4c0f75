"""``convx info`` (floor 9)."""

from __future__ import annotations

from .. import show_config


def add(commands) -> None:
    parser = commands.add_parser("info", help="print version, instruction row, OpenMP and threads",
                                 description="Prints what convx.show_config() tells; a bug report should contain it.")
    parser.set_defaults(run=lambda options: show_config())
