"""Figures: finished tables and arrays in, a Figure out."""
