"""Data sets by name: `registry` finds them, and each file with a `load` is one source."""
