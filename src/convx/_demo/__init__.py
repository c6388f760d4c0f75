"""The demonstration behind `python -m convx demo` and its photograph (floor 6: public names only)."""
