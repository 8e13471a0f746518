"""A file imports only from its own room and from rooms on floors below it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import tiny_run

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
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))
IN_ROOMS = [path for path in FILES if len(path.parts) > 1]
# Carries out a command, and prints which of some modules were imported by then
IMPORTED = """
import sys
from iwae_cli.cli.main import main
main(sys.argv[2:], standalone_mode=False)
print("imported:", *[name for name in sys.argv[1].split(",") if name in sys.modules])
"""


def imported(path: Path) -> set[str]:
    """Return what a file imports, by its full name, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "a relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_imported(path: Path) -> set[str]:
    """Return the rooms that a file imports from."""
    return {name.split(".")[1] for name in imported(path) if name.startswith("iwae_cli.")}


def modules_of(modules: str, arguments: list[str], folder: Path) -> str:
    """Return which of some modules, comma-separated, a command imports when run in `folder`."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, modules, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()[-1].removeprefix("imported:")


def test_every_file_is_in_a_room() -> None:
    top = {path.name for path in PACKAGE.iterdir() if path.is_file()}
    assert top <= {"__init__.py", "__main__.py", "py.typed"}
    assert {path.parts[0] for path in IN_ROOMS} == set(ORDER)


def test_no_file_is_above_250_lines() -> None:
    lines = {str(path): len((PACKAGE / path).read_text().splitlines()) for path in FILES}
    assert {path: count for path, count in lines.items() if count > 250} == {}


@pytest.mark.parametrize("path", IN_ROOMS, ids=str)
def test_a_file_imports_from_its_room_and_from_floors_below(path: Path) -> None:
    room = path.parts[0]
    for other in rooms_imported(path) - {room}:
        assert other in ORDER, f"{path} imports {other}, which is no room"
        assert ORDER[other] < ORDER[room], f"{path} imports {other}"


@pytest.mark.parametrize("path", [path for path in FILES if path.parts[0] == "objectives"], ids=str)
def test_objectives_import_torch_alone(path: Path) -> None:
    foreign = {name.partition(".")[0] for name in imported(path)} - sys.stdlib_module_names
    assert foreign <= {"torch", "iwae_cli"}
    assert rooms_imported(path) <= {"objectives"}


def test_hydra_is_imported_in_one_file_and_matplotlib_in_one_folder() -> None:
    def importing(package: str) -> set[Path]:
        return {p for p in FILES if package in {name.partition(".")[0] for name in imported(p)}}

    assert importing("hydra") == {Path("cli/compose.py")}
    assert {path.parent for path in importing("matplotlib")} == {Path("reports/figures")}


def test_runs_are_listed_without_torch_and_without_matplotlib(trained: Path) -> None:
    command = ["runs", str(trained)]
    assert modules_of("torch,matplotlib,pandas", command, trained) == " pandas"


def test_a_report_is_made_without_torch(trained: Path, tmp_path: Path) -> None:
    command = ["report", str(trained), "--output", str(tmp_path)]
    assert modules_of("torch,matplotlib", command, tmp_path) == " matplotlib"


def test_training_needs_neither_torchs_compiler_nor_scikit_learn(tmp_path: Path) -> None:
    command = [*tiny_run(), "then.pictures=false"]
    assert modules_of("torch,torch._dynamo,sympy,sklearn", command, tmp_path) == " torch"


def test_the_newest_run_is_found_without_torch(tmp_path: Path) -> None:
    run = tmp_path / "outputs" / "runs" / "newest"
    run.mkdir(parents=True)
    (run / "checkpoint.pt").touch()
    code = (
        "import sys; from iwae_cli.cli.options import newest; "
        "print(newest(), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(Path("outputs/runs/newest")), "False"]
