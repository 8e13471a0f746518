"""Classes by name: a folder whose files each hold one, named like the file."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pkgutil import iter_modules
from typing import TypeVar, cast

T = TypeVar("T")


class ByName(Mapping[str, type[T]]):
    """The classes of a package by name; the file `x.py` defines the class whose `name` is "x".

    A file is imported when its class is asked for.

    Args:
        package: Its full name.
        path: Its `__path__`.
        shared: Files that hold none of these classes.
    """

    def __init__(self, package: str, path: Iterable[str], *, shared: Sequence[str]) -> None:
        self.package = package
        self.names = sorted({m.name for m in iter_modules(path)} - set(shared))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, name: str) -> type[T]:
        """Return the class.

        Raises:
            KeyError: There is no file of this name.
        """
        if name not in self.names:
            raise KeyError(name)
        module = import_module(f"{self.package}.{name}")
        classes = [one for one in vars(module).values() if isinstance(one, type)]
        own = [one for one in classes if one.__module__ == module.__name__]
        (found,) = (one for one in own if getattr(one, "name", None) == name)
        return cast(type[T], found)
