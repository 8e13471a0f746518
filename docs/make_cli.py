"""`make docs`: write docs/cli.md from the help pages."""

from pathlib import Path

import click

from iwae_cli.cli.main import main

START = """# Commands

Made by `make docs` from the help pages of the commands: change those.
"""


def reference() -> str:
    """Return docs/cli.md: the help page of `iwae`, then of each command."""
    parts = [START]
    settings = {**main.context_settings, "terminal_width": 100, "max_content_width": 100}
    context = click.Context(main, info_name="iwae", **settings)
    for name in (None, *sorted(main.commands)):
        command = main.commands[name] if name else main
        own = click.Context(command, info_name=name, parent=context) if name else context
        page = command.get_help(own).replace("\b\n", "")
        lines = "\n".join(f"    {line}".rstrip() for line in page.splitlines())
        parts.append(f"## {own.command_path}\n\n{lines}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    Path(__file__).with_name("cli.md").write_text(reference(), encoding="utf-8")
