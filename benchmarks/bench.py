"""`make bench`: our training step and evaluation beside others' and beside the machine's limit.

Writes bench.csv, bench.md and growth.png into outputs/bench. Needs a quiet machine; the ratios
within one table are what can be trusted.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from iwae_cli.core import runtime

runtime.tune()

import click
import pandas as pd
import torch
from candidates import evaluations, has_pythae, kept_share, kfac_steps, our_step, training_steps
from growth_figure import growth_figure
from matmul_limit import forward_products, limit_seconds, operations, training_products
from timing import in_turns

from iwae_cli import objectives
from iwae_cli.core.device import device_of, precision_of
from iwae_cli.runs.provenance import commit, device_name

HERE = Path(__file__).parent
KS, BATCHES, EVALUATION_K = (1, 5, 50), (20, 100), 5000
GROWTH = (1, 5, 50, 500, 5000)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
Row = dict[str, Any]


def rows_of(what: str, times: dict[str, Any], units: float, limits: dict[str, float]) -> list[Row]:
    """Return a row for each candidate and limit, in seconds a unit of work."""
    rows = [
        {"what": what, "candidate": name, "seconds": t.median / units, "spread": t.spread / units}
        for name, t in times.items()
    ]
    rows += [
        {"what": what, "candidate": f"limit {name}", "seconds": seconds / units}
        for name, seconds in limits.items()
    ]
    return rows


def precisions(device: torch.device) -> list[str]:
    """Return the precisions that are worth timing on a device."""
    return ["float32"] + (["bfloat16"] if precision_of("auto", device) == "bfloat16" else [])


def bench_training(device: torch.device, rounds: int) -> list[Row]:
    """Time training steps for each k and batch size."""
    rows = []
    for k in KS:
        for batch in BATCHES:
            calls = 4 if k * batch >= 1000 else 12
            steps = training_steps(k, batch, device)
            times = in_turns(steps, device=device, rounds=rounds, calls=calls)
            shapes = training_products(k, batch)
            limits = {p: limit_seconds(shapes, DTYPES[p], device) for p in precisions(device)}
            found = rows_of(f"step k={k} batch={batch}", times, 1, limits)
            kept = kept_share(k, batch, device)
            rows += [{**row, "kept": kept} for row in found]
            click.echo(f"training step, k={k}, batch {batch}: done", err=True)
    return rows


def bench_kfac(device: torch.device, rounds: int, batch: int = 400) -> list[Row]:
    """Time steps of K-FAC, beside Adam's of the same size; the mean, as few steps invert."""
    rows: list[Row] = []
    for k in KS:
        times = in_turns(kfac_steps(k, batch, device), device=device, rounds=rounds, calls=25)
        rows += [
            {"what": f"kfac k={k} batch={batch}", "candidate": name, "seconds": t.mean}
            for name, t in times.items()
        ]
    click.echo("K-FAC: done", err=True)
    return rows


def bench_evaluation(device: torch.device, rounds: int, images: int = 100) -> list[Row]:
    """Time evaluations at k = 5000, in seconds an image."""
    times = in_turns(
        evaluations(EVALUATION_K, images, device), device=device, rounds=rounds, calls=1
    )
    shapes = forward_products(EVALUATION_K, 1)
    limits = {p: images * limit_seconds(shapes, DTYPES[p], device) for p in precisions(device)}
    click.echo("evaluation: done", err=True)
    return rows_of(f"evaluation k={EVALUATION_K}, an image", times, images, limits)


def bench_objectives(device: torch.device, rounds: int, k: int = 50, batch: int = 20) -> list[Row]:
    """Time one training step of each objective."""
    precision = precision_of("auto", device)
    steps = {
        name: our_step(k, batch, device, precision=precision, objective=name)
        for name in objectives.names()
    }
    times = in_turns(steps, device=device, rounds=rounds, calls=3)
    click.echo("objectives: done", err=True)
    return rows_of(f"objective k={k} batch={batch} {precision}", times, 1, {})


def growth(device: torch.device) -> pd.DataFrame:
    """Return time and peak memory for each k, every one in its own process."""
    found = []
    for what in ("step", "evaluation"):
        for k in GROWTH:
            for precision in precisions(device):
                command = [sys.executable, str(HERE / "scaling.py"), what, str(k), precision]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                found.append(json.loads(done.stdout))
    click.echo("growth with k: done", err=True)
    return pd.DataFrame(found)


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each thing timed: milliseconds of all, and how often faster we are."""
    wide = table.pivot(index="what", columns="candidate", values="seconds").mul(1e3)
    wide = wide.loc[list(dict.fromkeys(table["what"]))]
    fastest = wide[[name for name in DTYPES if name in wide]].min(axis=1)
    for rival in ("plain", "pythae"):
        if rival in wide:
            wide[f"{rival} / ours"] = wide[rival] / fastest
    for name in DTYPES:
        if name in wide:
            wide[f"share of limit {name}"] = wide[f"limit {name}"] / wide[name]
    kept = table.dropna(subset="kept").groupby("what")["kept"].first()
    return wide.join(kept.rename("rows kept")).reset_index()


def kfac_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean time of a step of K-FAC and of Adam, and what K-FAC itself takes, in ms."""
    wide = table.pivot(index="what", columns="candidate", values="seconds").mul(1e3)
    wide = wide.loc[list(dict.fromkeys(table["what"])), ["adam", "kfac"]]
    wide["of K-FAC itself"] = wide["kfac"] - wide["adam"]
    return wide.reset_index()


def objective_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Return the time of each objective's step beside iwae's."""
    own = table[["candidate", "seconds", "spread"]].copy()
    iwae = float(own.loc[own["candidate"] == "iwae", "seconds"].iloc[0])
    own["times iwae"] = own["seconds"] / iwae
    own[["seconds", "spread"]] *= 1e3
    return own.rename(columns={"candidate": "objective", "seconds": "ms", "spread": "+- ms"})


def report(rows: list[Row], device: torch.device) -> str:
    """Return the Markdown page of a benchmark."""
    table = pd.DataFrame(rows)
    objective = table["what"].str.startswith("objective")
    kfac = table["what"].str.startswith("kfac")
    rate = operations(forward_products(EVALUATION_K, 1)) / 1e9
    limits = table[table["what"].str.startswith("evaluation")].set_index("candidate")["seconds"]
    rates = ", ".join(f"{rate / limits[f'limit {p}']:,.0f} ({p})" for p in precisions(device))
    about = (
        f"{device_name(device)}, {torch.get_num_threads()} threads, torch {torch.__version__}, "
        f"commit {commit()}. Medians in ms; `limit` is the matrix products alone by the fastest "
        f"routine here, at k={EVALUATION_K} {rates} GFLOP/s."
    )
    parts = ["# Benchmark", about, "## Programs"]
    parts.append(ratios(table[~objective & ~kfac]).to_markdown(index=False, floatfmt=".2f"))
    if not has_pythae():
        parts.append("pythae is not installed: `pip install -e .[bench]` adds its column.")
    parts += ["## K-FAC, mean of its steps"]
    parts.append(kfac_ratios(table[kfac]).to_markdown(index=False, floatfmt=".2f"))
    parts += ["## Objectives", table.loc[objective, "what"].iloc[0].removeprefix("objective ")]
    parts.append(objective_ratios(table[objective]).to_markdown(index=False, floatfmt=".2f"))
    return "\n\n".join(parts) + "\n"


@click.command()
@click.option("--rounds", default=7, help="Turns of each candidate.")
@click.option("--device", default="auto", help="cpu or cuda.")
@click.option("--output", default="outputs/bench", type=click.Path(path_type=Path))
@click.option("--growth-only", is_flag=True, help="Only time and memory against k.")
def main(rounds: int, device: str, output: Path, growth_only: bool) -> None:
    """Measure, and write bench.csv, bench.md, growth.csv and growth.png."""
    place = device_of(device)
    output.mkdir(parents=True, exist_ok=True)
    if place.type == "cpu":
        table = growth(place)
        table.to_csv(output / "growth.csv", index=False)
        growth_figure(table).savefig(output / "growth.png", dpi=150)
    if growth_only:
        return
    rows = bench_training(place, rounds) + bench_evaluation(place, max(3, rounds // 2))
    rows += bench_kfac(place, rounds) + bench_objectives(place, rounds)
    pd.DataFrame(rows).to_csv(output / "bench.csv", index=False)
    page = report(rows, place)
    (output / "bench.md").write_text(page)
    click.echo(page)
    click.echo(f"written to {output}")


if __name__ == "__main__":
    main()
