"""`iwae report` where files of a run are damaged: each is named and the rest is reported."""

import json
from pathlib import Path

import pytest
from run_folders import cell, change_environment, command, run_of

from iwae_cli.reports.page_content import page_of
from iwae_cli.reports.report import report_of
from iwae_cli.runs.checked_table import parsed


def damage(outputs: Path, kind: str) -> tuple[Path, str]:
    """Damage a run in one way; return the file and part of the reason that is to be named."""
    run = run_of(outputs, "iwae", 2)
    if kind == "half-written csv":
        path = run / "eval.csv"
        path.write_text(path.read_text()[:-30])
        return path, "half-written: line 3"
    if kind == "no number":
        path = run / "metrics.csv"
        path.write_text(path.read_text().replace("\n1,", "\none,", 1))
        return path, "line 2 was changed: its checksum is another"
    if kind == "no columns":
        path = run / "active_units.csv"
        path.write_text("a,b\n1,2\n")
        return path, "no column 'layer'"
    if kind == "binary":
        path = run / "eval.csv"
        path.write_bytes(b"\xff\xfe\x00\x01")
        return path, "no text in UTF-8: byte 0"
    if kind == "cut npz":
        path = run / "per_image.npz"
        path.write_bytes(path.read_bytes()[:500])
        return path, ""
    if kind == "other format":
        change_environment(run, format=99, iwae="9.0")
        return run / "environment.json", "format 99, written by version 9.0"
    if kind == "json":
        path = run / "environment.json"
        path.write_text(path.read_text()[:100])
        return path, ""
    path = run / "config.yaml"
    content = {"no config": None, "cut config": "arch:\n  name: x\n", "no yaml": "a: [1"}[kind]
    path.unlink() if content is None else path.write_text(content)
    return path, {"no config": "No such file", "cut config": "no key"}.get(kind, "")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"PK\3\4....", "a ZIP, as spreadsheets are"), (b"k,nll\n1,\xfc\n", "UTF-8: byte 8")],
)
def test_a_table_that_a_spreadsheet_saved_is_told(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parsed(content)


@pytest.mark.parametrize(
    "kind",
    [
        "half-written csv",
        "no number",
        "no columns",
        "binary",
        "cut npz",
        "other format",
        "json",
        "no config",
        "cut config",
        "no yaml",
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_reported(
    outputs: Path, kind: str
) -> None:
    path, reason = damage(outputs, kind)
    report = report_of(outputs)
    (named,) = report.unreadable
    assert named.path == path
    assert reason in named.reason
    assert "\n" not in named.reason
    vae = cell(report, data="digits", layers=1, objective="vae", k=2)
    assert vae["seeds"] == 1
    assert str(path) in page_of(report, []).unreadable[0]


@pytest.mark.long
def test_unreadable_files_are_on_stderr_with_exit_code_1(outputs: Path, tmp_path: Path) -> None:
    path, reason = damage(outputs, "half-written csv")
    done = command("report", "--json", cwd=tmp_path)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("figures ")]
    first, last = lines
    assert str(path.relative_to(tmp_path)) in first
    assert reason in first
    assert last == "iwae: 1 file could not be read; the rest is above"
    assert json.loads(done.stdout)["unreadable"][0]["file"] == str(path.relative_to(tmp_path))
