"""Objectives trained alike beside each other: NLL, gain over iwae, active units, seconds."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from iwae_cli.reports.formatting import Table, slug
from iwae_cli.reports.labels import NOTHING, number_text, objective_label
from iwae_cli.reports.pairs import interval
from iwae_cli.reports.run_record import RunRecord
from iwae_cli.reports.run_tables import active_name
from iwae_cli.reports.seeds import mean_active, total_active
from iwae_cli.runs.eval_csv import by_l_k

REFERENCE = "iwae"
FEWEST = 3
PLACE = ["data", "protocol", "architecture", "k", "split", "images", "eval_k", "eval_seed"]
COLUMNS = [*PLACE, "objective", "n", "nll", "nll_sd", "se_images", "gain", "sd", "low", "high"]
COLUMNS += ["se", "active", "active_sd", "passes", "seconds", "runs"]
NOTE = (
    "Gain: NLL of IWAE minus that of the objective, paired over images, with its 95 % interval "
    "over n seeds or, of one seed, ± its standard error over images. NLL: mean ± standard "
    "deviation over seeds or, of one seed, ± its standard error over images. Active units and "
    "seconds of training are means over seeds."
)


def comparison_table(runs: Sequence[RunRecord], differences: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each objective of a group of runs that differ in it and the seed alone.

    A group has `iwae` and at least two others of one seed, evaluated alike. `gain` is above 0
    where the objective is better than iwae: the mean over `n` seeds, `low` and `high` its 95 %
    interval; `se` is over images, of the paired difference. `seconds` is the time of training.

    Args:
        runs: With their evaluations.
        differences: `paired_differences.paired_differences` of them.
    """
    by_name = {run.name: run for run in runs}
    rows = [
        row
        for _, group in differences.groupby([*PLACE, "seed"])
        for row in of_one_seed(group, by_name)
    ]
    single = pd.DataFrame(rows)
    if not rows:
        return pd.DataFrame(columns=COLUMNS)
    groups = single.groupby([*PLACE, "objective"])
    table = pd.DataFrame(
        [dict(zip([*PLACE, "objective"], key, strict=True)) | mean(own) for key, own in groups]
    )
    order = table[COLUMNS].sort_values([*PLACE, "gain"], ascending=[True] * len(PLACE) + [False])
    return order.reset_index(drop=True)


def of_one_seed(pairs: pd.DataFrame, runs: dict[str, RunRecord]) -> Iterator[dict[str, Any]]:
    """Yield the rows of one seed: iwae and what is compared with it, if that is enough."""
    own = pairs[(pairs["baseline"] == REFERENCE) | (pairs["objective"] == REFERENCE)]
    if len(own) < FEWEST - 1:
        return
    first = {str(key): value for key, value in own.iloc[0].to_dict().items()}
    reference = "baseline_run" if first["baseline"] == REFERENCE else "run"
    yield row_of(runs[first[reference]], REFERENCE, first, 0.0, 0.0)
    for pair in own.to_dict("records"):
        turned = pair["objective"] == REFERENCE
        name, run = ("baseline", "baseline_run") if turned else ("objective", "run")
        gain = -pair["gain"] if turned else pair["gain"]
        yield row_of(runs[pair[run]], pair[name], first, gain, pair["se"])


def row_of(
    run: RunRecord, objective: str, pair: dict[str, Any], gain: float, se: float
) -> dict[str, Any]:
    """Return the row of one run; `pair` holds the columns PLACE."""
    table = by_l_k(run.evaluations)
    wanted = {"split": pair["split"], "images": pair["images"], "k": pair["eval_k"]}
    wanted |= {"seed": pair["eval_seed"]}
    evaluation = table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)].iloc[-1]
    return {name: pair[name] for name in PLACE} | {
        "objective": objective,
        "gain": gain,
        "se": se,
        "nll": evaluation["nll"],
        "se_images": evaluation["se_images"],
        "active": active_name(run, run.total_passes),
        "passes": run.passes,
        "seconds": float(run.metrics["seconds"].sum()),
        "run": run.name,
    }


def mean(rows: pd.DataFrame) -> dict[str, Any]:
    """Return several seeds of one objective as one row."""
    return interval(rows["gain"]) | {
        "nll": rows["nll"].mean(),
        "nll_sd": rows["nll"].std(),
        "se_images": rows["se_images"].mean(),
        "se": rows["se"].mean(),
        "active": mean_active(rows["active"]),
        "active_sd": rows["active"].map(total_active).astype(float).std(),
        "passes": rows["passes"].iloc[0],
        "seconds": rows["seconds"].mean(),
        "runs": " ".join(rows["run"]),
    }


def comparison_tables(compared: pd.DataFrame) -> list[Table]:
    """Return a table for each group of objectives trained alike.

    Args:
        compared: `comparison_table`.
    """
    tables = []
    for key, own in compared.groupby(PLACE, sort=False):
        data, protocol, architecture, k, split, images, by_k, _ = key
        records = own.to_dict("records")
        frame = pd.DataFrame(
            {
                "objective": [objective_label(row["objective"]) for row in records],
                "NLL": [nll_text(row) for row in records],
                "gain": [gain_text(row) for row in records],
                "active": own["active"].replace("", NOTHING).tolist(),
                "seconds": [f"{row['seconds']:.0f}" for row in records],
                "n": own["n"].astype(str).tolist(),
            }
        )
        note = f"{split.capitalize()} NLL by L_{by_k} on {images} images; {protocol}. {NOTE}"
        title = f"Objectives: {data}, {architecture} latents, k = {k}"
        tables.append(Table(title, note, frame, slug("objectives", *key[:5])))
    return tables


def nll_text(row: dict[Any, Any]) -> str:
    """Return NLL ± its spread over seeds or, of one seed, over images."""
    return f"{row['nll']:.2f} ± {row['nll_sd'] if row['n'] > 1 else row['se_images']:.2f}"


def gain_text(row: dict[Any, Any]) -> str:
    """Return the gain with its interval over seeds or, of one seed, its error over images."""
    if row["objective"] == REFERENCE:
        return NOTHING
    gain = number_text(row["gain"], "+z.3f")
    if row["n"] == 1:
        return f"{gain} ± {row['se']:.3f}"
    return f"{gain} ({number_text(row['low'], '+z.3f')} to {number_text(row['high'], '+z.3f')})"
