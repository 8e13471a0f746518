"""Estimators by name: each file of this folder holds one, named like it, but for `SHARED`."""

import importlib
import inspect
import pkgutil
from typing import cast

from iwae_cli.objectives.base import Objective

# Files that define no estimator
SHARED = ("base", "importance")


def names() -> list[str]:
    """Return the names of all estimators, sorted."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in SHARED)


def find(name: str) -> type[Objective]:
    """Return the class of the estimator `name`, the one class its file defines.

    Raises:
        KeyError: There is no such estimator.
    """
    if name not in names():
        raise KeyError(name)
    module = importlib.import_module(f"{__name__}.{name}")
    members = inspect.getmembers(module, inspect.isclass)
    (found,) = (cls for _, cls in members if cls.__module__ == module.__name__)
    return cast(type[Objective], found)
