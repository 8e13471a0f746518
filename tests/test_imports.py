"""Data flows one way: a file imports only files above it in the list of the README's map."""

import ast
from pathlib import Path

import iwae_cli

PACKAGE = Path(iwae_cli.__file__).parent
ORDER = [
    "errors",
    "config",
    "data.dataset",
    "data.files",
    "data.arrays",
    "data.digits",
    "data.mnist",
    "data.mnist_fixed",
    "data.omniglot",
    "data.registry",
    "randomness",
    "stopping",
    "progress",
    "models.importance",
    "models.products",
    "models.bernoulli_kernel",
    "models.kernels",
    "models.fisher",
    "models.layers",
    "models.gradients",
    "models.row_lottery",
    "models.cores",
    "models.iwae",
    "objectives",
    "optimizers",
    "schedules",
    "recipes",
    "components",
    "environment",
    "checkpoint",
    "metrics",
    "update",
    "training",
    "run_folder",
    "run_log",
    "prepare",
    "evaluation",
    "trained",
    "judgement",
    "drawing",
    "diagnosis",
    "experiment",
    "forecast",
    "reports.paper",
    "reports.states",
    "reports.reading",
    "reports.tables",
    "reports.paper_tables",
    "reports.layout",
    "reports.differences",
    "reports.plots",
    "reports.gradient_plot",
    "reports.comparison",
    "reports.images",
    "reports.gallery",
    "reports.html",
    "reports.report",
    "process",
    "terminal",
    "launch",
    "completion",
    "options",
    "data_cli",
    "model_cli",
    "results_cli",
    "cli",
]


def modules() -> dict[str, Path]:
    """Return every module with code, by its name below the package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if name not in ("__init__", "__main__"):
            found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    known = modules()
    return {n.removeprefix("iwae_cli.") for n in names} & set(known)


def rank(module: str) -> int:
    """Return the position of a module, or of the folder that holds it, in the order."""
    return ORDER.index(module if module in ORDER else module.partition(".")[0])


def test_every_module_has_its_place_in_the_order() -> None:
    for module in modules():
        if module not in ("data", "models", "optimizers", "reports"):
            assert rank(module) >= 0


def test_imports_run_one_way() -> None:
    for module, path in modules().items():
        for other in imported(path) - {module, "data", "models", "optimizers", "reports"}:
            same_room = rank(other) == rank(module)
            assert same_room or rank(other) < rank(module), f"{module} imports {other}"


def test_objectives_know_importance_weights_alone() -> None:
    for module, path in modules().items():
        if module.startswith("objectives"):
            assert imported(path) - {"models", "objectives"} <= {"models.importance"}, module


def test_hydra_and_matplotlib_are_imported_in_one_room_each() -> None:
    for module, path in modules().items():
        text = path.read_text()
        assert "import hydra" not in text or module == "launch"
        assert "from hydra" not in text or module == "launch"
        assert "matplotlib" not in text or module.startswith("reports")
