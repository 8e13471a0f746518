"""What a sweep came to: training, and what its follow-ups computed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any


def with_scores(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the results of runs, with test NLL, its k and the active units where they are known.

    Args:
        results: One for each run, with its `folder`.
    """
    from iwae_cli.reports.read_runs import RunReader
    from iwae_cli.reports.run_tables import scores_table

    reader, rows = RunReader(arrays=False), list[dict[str, Any]]()
    for result in results:
        runs = reader.runs(Path(result["folder"]))
        row = dict(result)
        if runs:
            (score,) = scores_table(runs).to_dict("records")
            if score["eval_nll"] == score["eval_nll"]:  # not NaN
                row |= {"nll": score["eval_nll"], "eval_k": int(score["eval_k"])}
            if score["active"]:
                row["active"] = score["active"]
        rows.append(row)
    return rows
