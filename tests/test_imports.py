"""A file imports only from its own room and from rooms on floors below it."""

import ast
from pathlib import Path

import pytest

import iwae_cli

PACKAGE = Path(iwae_cli.__file__).parent
# The rooms, folders of the package, and the floor of each; rooms of one floor know nothing of
# each other.
ORDER = {
    "core": 1,
    "objectives": 1,
    "data": 2,
    "models": 2,
    "runs": 3,
    "evaluation": 4,
    "reports": 4,
    "training": 5,
    "cli": 6,
}
BUILT = (
    "core",
    "objectives",
    "data",
    "models",
    "runs",
    "evaluation",
    "reports",
)  # rooms that are complete
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """Return the name of a file below the package, such as `data/mnist.py`."""
    return path.relative_to(PACKAGE).as_posix()


def room_of(module: str) -> str:
    """Return the room of a module such as `data.mnist`."""
    return module.partition(".")[0]


def imported(path: Path) -> set[str]:
    """Return what a file imports, by its full name, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module
            assert node.level == 0, f"{path}: a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms that a file imports from."""
    own = {name for name in imported(path) if name.startswith("iwae_cli.")}
    return {room_of(name.removeprefix("iwae_cli.")) for name in own}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_imports_from_its_room_and_from_floors_below(path: Path) -> None:
    room = room_of(name_of(path).replace("/", "."))
    if room not in BUILT:
        return
    for other in rooms_imported(path) - {room}:
        if other in ORDER:
            assert ORDER[other] < ORDER[room], f"{name_of(path)} imports {other}"
