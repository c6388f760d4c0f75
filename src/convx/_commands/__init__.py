"""The commands of ``convx`` (floor 9), one module each: `add` describes its arguments, `run` does the work."""
