"""All that `iwae train` does: one run from its config to its results."""
