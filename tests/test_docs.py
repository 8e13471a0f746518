"""What README and docs/ say: commands that exist, files that are there."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT

from iwae_cli.cli import launch
from iwae_cli.cli.main import main

PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def commands() -> list[str]:
    """Return the commands of ours on the pages, in lines of their own or in a sentence."""
    text = "\n".join(page.read_text() for page in PAGES if page.name != "cli.md")
    ours = [line.strip() for line in text.splitlines() if line.startswith("    iwae ")]
    ours += re.findall(r"`(iwae [^`]+)`", text)
    return sorted({re.split(r"\s+#", line)[0] for line in ours})


def test_the_reference_is_made_from_the_help_pages() -> None:
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "cli.md").read_text() == module.reference(), "run 'make docs'"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    linked = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in linked if not (page.parent / link).exists()] == []


def test_the_pages_show_commands() -> None:
    assert len(commands()) > 15


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_pages_exists_and_its_overrides_compose(line: str) -> None:
    for part in line.split(";"):
        _, name, *words = shlex.split(part)
        if name.startswith("-") or "..." in words:
            continue
        command = main.commands[name]
        known = {option for param in command.params for option in param.opts}
        assert [w for w in words if w.startswith("-") and w.partition("=")[0] not in known] == []
        if name == "train" and "--cfg" not in words:
            overrides = [word for word in words if not word.startswith("-")]
            sweep = "-m" in words or "--dry-run" in words
            assert launch.plan(overrides, multirun=sweep).points
