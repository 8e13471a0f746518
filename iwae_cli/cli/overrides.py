"""Overrides as they are typed, checked before Hydra reads them: slips, paths, refused keys."""

import re
import shlex
from collections.abc import Collection, Sequence

from iwae_cli.core.errors import UsageError

# Values that are paths or names: a text whatever it looks like
PATHS = ("outputs", "dataset.train", "dataset.test", "dataset.valid")
# Config groups whose name alone says nothing without their other keys
NAMED = ("objective", "optimizer", "dataset", "likelihood", "launcher")
TEXTS = (*PATHS, "dataset.label", "arch.name")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# What Hydra does not read as a text
NO_TEXT = re.compile(
    r"[+-]?([\d_]+\.?[\d_]*(e[+-]?\d+)?|\.\d[\d_]*(e[+-]?\d+)?|inf|nan)|true|false|null",
    re.IGNORECASE,
)
# Of Hydra's own keys only these may be set; the others belong to this tool
OF_HYDRA = ("hydra.mode", "hydra.sweeper.params", "hydra/launcher", "hydra.launcher")
KEY = re.compile(r"[+]*[A-Za-z_][\w./@-]*")


def checked(
    overrides: Sequence[str], *, groups: Collection[str] = (), multirun: bool = False
) -> list[str]:
    """Return overrides as Hydra should read them: values that are paths or names as quoted texts.

    Args:
        overrides: As they were typed.
        groups: Names of config groups.
        multirun: Whether a comma separates the values of a sweep.

    Raises:
        UsageError: A slip, or a key that is not for the user to set; the message says what to type.
    """
    words = list(overrides)
    for place in range(len(words)):
        refuse_spaces(words, place)
    for word in words:
        key, equals, value = word.partition("=")
        refuse_keys(key, value)
        if not equals:
            raise UsageError(f"cannot read '{word}': {meant(word)}")
        if key in groups and key != "log" and value.startswith(("[", "{")):
            raise UsageError(
                f"{key} takes a name, got {value}; its keys are set as {key}.KEY=VALUE, and "
                "'iwae train --cfg job' shows them"
            )
    return [
        as_name(word) if is_group(word, groups) else as_text(word, multirun=multirun)
        for word in words
    ]


def is_group(word: str, groups: Collection[str]) -> bool:
    """Whether an override chooses from a config group, or from one for a node of its own."""
    return word.partition("=")[0].lstrip("+").partition("@")[0] in groups


def as_name(word: str) -> str:
    """Return a choice from a group in which names that look like numbers are quoted."""
    key, _, value = word.partition("=")
    brackets = value.startswith("[") and value.endswith("]")
    names = value[1:-1] if brackets else value
    quoted = ",".join(in_hydra(n) if NO_TEXT.fullmatch(n) else n for n in names.split(","))
    return f"{key}=[{quoted}]" if brackets else f"{key}={quoted}"


def refuse_spaces(words: Sequence[str], place: int) -> None:
    """Refuse spaces beside an equals sign, which the shell makes words of."""
    word = words[place]
    key, equals, value = word.partition("=")
    after = words[place + 1] if place + 1 < len(words) else ""
    before = words[place - 1] if place else ""
    if equals and not key.strip():  # `k =5` and `k = 5`
        key, value = before, value or after
    elif equals and not value and after and "=" not in after:  # `k= 5`
        value = after
    elif not equals or (key == key.rstrip() and value == value.lstrip()):
        return
    typed = f"{key.strip()}={value.strip()}"
    raise UsageError(f"no spaces around '=': write {in_shell(typed)}")


def refuse_keys(key: str, value: str) -> None:
    """Refuse what would take a key away, and keys that this tool sets itself."""
    if key.startswith("~"):
        raise UsageError(f"'{key}' is refused: no key can be taken away; null switches some off")
    name = key.lstrip("+")
    if name == "hydra.mode" and value not in ("RUN", "MULTIRUN"):
        raise UsageError(f"'{key}={value}': leave it out, and write -m for a sweep")
    own = name.startswith(("hydra.", "hydra/")) or name == "hydra"
    if own and not name.startswith(OF_HYDRA):
        better = "--config-dir=FOLDER" if name == "hydra.searchpath" else "outputs=FOLDER"
        raise UsageError(
            f"'{name}' is refused: run folders are named by iwae and Hydra writes none; set "
            f"{better}"
        )
    group, _, key_inside = name.partition(".")
    if group in NAMED and key_inside == "name":
        raise UsageError(f"'{key}' changes the name alone: write {group}={value}")


def meant(word: str) -> str:
    """Return what to type in place of a word without an equals sign."""
    if match := re.fullmatch(r"([\w.]+)[:/]([^:/]+)", word):
        return f"write {match[1]}={match[2]}"
    if word.endswith((".yaml", ".yml")):
        return (
            "a YAML file of your own is FOLDER/experiment/NAME.yaml, for --config-dir=FOLDER "
            "experiment=NAME"
        )
    if KEY.fullmatch(word):
        return f"write {word}=VALUE"
    return "overrides are written key=value, as in k=5"


def as_text(word: str, *, multirun: bool) -> str:
    """Return an override with its value quoted where that is a path or a name, as typed otherwise.

    Raises:
        UsageError: It is empty, or has a comma and is no sweep.
    """
    key, _, value = word.partition("=")
    name = key.lstrip("+").removeprefix("init_from.")
    if name not in TEXTS or value == "null" or (name in PATHS[2:] and NUMBER.fullmatch(value)):
        return word
    if not value:
        raise UsageError(f"'{word}' is empty: write {key}={'PATH' if name in PATHS else 'NAME'}")
    if value[0] in "'\"" or "${" in value:
        return word
    quoted = f"{key}={in_hydra(value)}"
    if "," in value:
        if multirun:
            parts = [as_text(f"{key}={part}", multirun=False) for part in value.split(",")]
            return f"{key}=" + ",".join(part.partition("=")[2] for part in parts)
        raise UsageError(
            f"'{word}' has several values: add -m to sweep over them; one with a comma in it is "
            f"written {in_shell(quoted)}"
        )
    return quoted


def in_hydra(value: str) -> str:
    """Return a text as Hydra reads it: in quotes, with backslashes doubled before a quote alone."""
    return "'" + re.sub(r"(\\*)('|$)", r"\1\1\2", value).replace("'", "\\'") + "'"


def in_shell(word: str) -> str:
    """Return a word as it is typed in a shell: in double quotes where those are enough."""
    quoted = shlex.quote(word)
    plain = quoted == word or set(word) & set('"$`\\!')
    return quoted if plain else f'"{word}"'
