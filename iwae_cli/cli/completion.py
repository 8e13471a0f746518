"""Shell completion of overrides: config groups, their choices, and keys."""

import click
from click.shell_completion import BashComplete, add_completion_class


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
    return [text.removeprefix(key) for text in completions(words, key + incomplete)]
