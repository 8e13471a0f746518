"""Data sets by name; each file of this folder but `dataset` and `files` is one source."""
