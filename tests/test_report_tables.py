"""The tables of a report: what is shown, and LaTeX that compiles as it is."""

import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT, limit
from scipy import stats

from iwae_cli.reports.formatting import Table, latex, markdown, tex_text
from iwae_cli.reports.labels import number_text, objective_label
from iwae_cli.reports.layouts import common, our_text, result_tables
from iwae_cli.reports.pairs import pair_tables, pairs_over_seeds, unpaired_seeds
from iwae_cli.reports.report import Report, report_of, texts

COMMITTED = ROOT / "outputs" / "paper"
LATEX = shutil.which("pdflatex")


def style_files(*names: str) -> bool:
    """Whether LaTeX and these packages of it are here."""
    find = shutil.which("kpsewhich")
    return bool(LATEX and find) and all(
        subprocess.run([str(find), f"{name}.sty"], capture_output=True, check=False).stdout
        for name in names
    )


needs_latex = pytest.mark.skipif(
    not style_files("booktabs", "graphicx"),
    reason="no pdflatex with booktabs and graphicx (Debian: texlive-latex-recommended)",
)


def committed(*names: str) -> Report:
    return report_of(*(COMMITTED / name / "runs.csv" for name in names))


def compiled(folder: Path, *tables: str) -> str:
    """Compile files of tables as an article and return LaTeX's log."""
    for number, text in enumerate(tables):
        (folder / f"t{number}.tex").write_text(text)
    packages = sorted({p for text in tables for p in re.findall(r"usepackage{(.+?)}", text)})
    lines = [r"\documentclass{article}", *(rf"\usepackage{{{one}}}" for one in packages)]
    inputs = [rf"\input{{t{number}}}\clearpage" for number in range(len(tables))]
    lines += [r"\begin{document}", *inputs, r"\end{document}"]
    (folder / "all.tex").write_text("\n".join(lines))
    command = [str(LATEX), "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=limit(120), check=False)
    log = (folder / "all.log").read_text(errors="replace")
    assert done.returncode == 0, log[-2000:]
    return log


@needs_latex
def test_every_table_of_the_committed_runs_compiles_and_fits_the_page(tmp_path: Path) -> None:
    files = [
        text
        for names in (("mnist", "recipe"), ("objectives",), ("precision",))
        for name, text in texts(committed(*names))
        if name.endswith(".tex")
    ]
    assert len(files) >= 5
    assert "Overfull" not in compiled(tmp_path, *files)


@needs_latex
def test_signs_of_names_compile(tmp_path: Path) -> None:
    frame = pd.DataFrame({"my_data 50%": ["a&b #1 $x$", r"\x^2~{y}", "**84.15** ± 0.22 – -0.10"]})
    table = Table("L_5000 of my_data", "100 % & more; vae -> iwae, 1 < 2.", frame, "x")
    compiled(tmp_path, latex([table]))


def test_latex_has_caption_label_and_packages_and_no_sign_outside_ascii() -> None:
    table, _ = result_tables(committed("mnist", "recipe").cells)
    text = latex([table])
    assert text.startswith(r"% Needs \usepackage{booktabs, graphicx} in the preamble.")
    assert r"\centering" in text
    assert r"\label{tab:results-mnist}" in text
    assert r"\caption{Results: MNIST. Test NLL in nats per image by $L_{5000}$ on all" in text
    assert text.isascii()
    assert r"\textbf{86.58} $\pm$ 0.23 (25)" in text


def test_bold_signs_minus_and_bounds_in_latex() -> None:
    assert tex_text("**1** -0.5 x-1 L_50 a_b") == r"\textbf{1} $-$0.5 x-1 $L_{50}$ a\_b"


def test_the_results_hold_whatever_was_run_with_the_papers_numbers_where_it_has_them() -> None:
    report = committed("mnist", "recipe")
    table, omniglot = result_tables(report.cells)
    assert "8070 test images" in omniglot.note
    flat = table.plain().set_index(["training", "latents", "k"])
    assert list(flat) == ["VAE ours", "VAE paper", "IWAE ours", "IWAE paper", "DReG"]
    row = flat.loc[("kfac, 370 passes", "50", "50")]
    assert row["IWAE paper"] == "84.78 (25)"
    assert row["DReG"] == "83.80 ± 0.22 (24)"
    assert flat.loc[("kfac, 120 passes", "100+50", "50"), "IWAE paper"] == "82.90 (26+7)"
    passes = ["fast, 120 passes", "kfac, 40 passes", "kfac, 120 passes"]
    assert list(dict.fromkeys(flat.reset_index()["training"]))[:3] == passes
    (own,) = result_tables(committed("objectives").cells)
    assert list(own.plain()) == ["objective", "k = 64"], "the paper has no k = 64"
    assert "2000 of the 10000 test images" in own.note
    assert "Table 1" not in own.note


def test_the_best_of_the_objectives_trained_alike_is_bold() -> None:
    cells = committed("mnist", "recipe").cells
    best = cells[cells["best"]].set_index(["protocol", "k"])["objective"].to_dict()
    alone = {key: name for key, name in best.items() if key[0].startswith("fast")}
    assert alone == {("fast, 120 passes", 5): "iwae", ("fast, 120 passes", 50): "dreg"}
    assert best["kfac, 370 passes", 50] == "dreg"
    assert best["kfac, 200 passes", 5] == "iwae"
    assert ("kfac, 280 passes", 50) not in best, "one objective is not the best of one"


def test_what_cells_have_in_common_is_in_the_note() -> None:
    cells = committed("precision").cells
    cells = cells[cells["seeds"] > 0]
    (table,) = result_tables(cells)
    text = markdown([table])
    assert "n=3" not in text
    assert "mean ± standard deviation over n = 3 seeds" in table.note
    mixed = cells.assign(seeds=[3, 1])
    shared = common(mixed)
    assert shared.seeds is None
    assert ", n=3" in our_text(mixed.iloc[0].to_dict(), shared)
    assert ", n=" not in our_text(mixed.iloc[1].to_dict(), shared)


def gains(values: list[float]) -> pd.DataFrame:
    """Return paired differences of seeds 0, 1, ..."""
    place = {"data": "digits", "protocol": "kfac", "architecture": "50", "k": 5}
    place |= {"baseline": "iwae", "objective": "dreg", "split": "test", "images": 400}
    place |= {"eval_k": 5000, "eval_seed": 0, "se": 0.02}
    return pd.DataFrame([{**place, "seed": n, "gain": gain} for n, gain in enumerate(values)])


def test_pairs_over_seeds_have_the_mean_and_the_interval_of_a_t_test() -> None:
    values = [0.2, 0.35, 0.29]
    (row,) = pairs_over_seeds(gains(values)).to_dict("records")
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert row["gain"] == pytest.approx(0.28)
    assert row["n"] == 3


def test_one_seed_has_no_interval() -> None:
    pairs = pairs_over_seeds(gains([0.2]))
    assert pairs[["low", "high", "sd"]].isna().all(axis=None)
    (table,) = pair_tables(pairs)
    assert table.plain()["95 % interval"].item() == "± 0.020 (images only)"
    assert "significant" not in markdown([table])


def test_seeds_without_a_partner_are_named() -> None:
    place = {
        "data": "digits",
        "protocol": "kfac",
        "architecture": "50",
        "k": 5,
        "status": "",
        "first_objective": "",
    }
    had = [("iwae", 0), ("iwae", 1), ("dreg", 1), ("dreg", 2)]
    scores = pd.DataFrame([{**place, "objective": name, "seed": seed} for name, seed in had])
    (line,) = unpaired_seeds(scores)
    assert line == "digits, 50, k=5: seeds that not all objectives have: iwae 0; dreg 2"
    assert not unpaired_seeds(scores[scores["seed"] == 1])
    assert not unpaired_seeds(scores[scores["objective"] == "iwae"])


def test_no_number_is_minus_zero() -> None:
    assert [number_text(x, "z.3f") for x in (-0.0001, -0.0006)] == ["0.000", "-0.001"]
    assert number_text(-0.0001, "+z.3f") == "+0.000"
    assert number_text(float("nan")) == "–"
    pairs = pairs_over_seeds(gains([-0.0001, -0.0002]))
    assert "-0.000" not in markdown(pair_tables(pairs))


def test_objectives_are_named_as_in_the_field() -> None:
    names = ["vae", "dreg", "stl", "rws_dreg", "ciwae(beta=0.5)", "dreg_alpha(alpha=0.5)"]
    shown = ["VAE", "DReG", "STL", "RWS-DReG", "CIWAE(beta=0.5)", "DReG(alpha=0.5)"]
    assert [objective_label(name) for name in names] == shown
