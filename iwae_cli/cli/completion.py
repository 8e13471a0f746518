"""Shell completion of overrides and of the names that options and arguments take."""

from collections.abc import Callable, Iterable, Sequence

import click
from click.shell_completion import BashComplete, add_completion_class

from iwae_cli.cli.conf_files import choices

# As evaluation/estimators.py has them, which would take seconds to import
ESTIMATORS = ("L_k", "jvi", "vr", "ais")


@add_completion_class
class Bash(BashComplete):
    """Click's completion for bash, without a space behind a key that still wants a value."""

    source_template = BashComplete.source_template.replace(
        "COMPREPLY+=($value)",
        "COMPREPLY+=($value); [[ $value == *[=./] ]] && compopt -o nospace",
    )


def overrides_completed(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return what completes an override: config groups, their choices, and keys.

    Bash hands over `arch=one` as the three words `arch`, `=` and `one`, of which click drops a last
    `=`; what bash wants back is only the part behind the `=`.
    """
    from iwae_cli.cli.compose import completions

    given = ctx.params.get("overrides") or ()
    words = "\n".join(given).replace("\n=\n", "=").replace("\n=", "=").splitlines()
    key = ""
    if words and words[-1].endswith("="):
        key = words.pop()
    elif words and "=" not in words[-1] and "=" not in incomplete:
        key = words.pop() + "="
    word = key + incomplete
    found = next_in_list(word) or completions(words, word)
    return [text.removeprefix(key) for text in found]


def next_in_list(word: str) -> list[str]:
    """Return what completes the last value of `key=value` or `key=one,two`.

    Of a word that Hydra completes by itself, a group's first choice, nothing.
    """
    from iwae_cli.core.config import DEVICES, PRECISIONS

    # keys without a config group that take one of a few values
    few = {"device": DEVICES, "precision": PRECISIONS, "compile": ("true", "false")}
    key, equals, typed = word.partition("=")
    before, comma, last = typed.rpartition(",")
    if not equals or not (comma or key in few):
        return []
    known: Sequence[str] = few.get(key) or choices(key)
    given = before.split(",")
    return [f"{key}={before}{comma}{n}" for n in starting(last, known) if n not in given]


def starting(incomplete: str, names: Iterable[str]) -> list[str]:
    """Return the names that begin like a word."""
    return [name for name in names if name.startswith(incomplete)]


def choice_of(group: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return the completion by the names that a config group has, such as `dataset`."""

    def complete(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
        return starting(incomplete, choices(group))

    return complete


def estimators_completed(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of estimators of log p(x)."""
    return starting(incomplete, ESTIMATORS)
