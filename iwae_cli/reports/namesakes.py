"""What tells runs apart whose folders differ in their hash alone."""

from collections.abc import Sequence

from iwae_cli.reports.naming import identity_keys
from iwae_cli.reports.run_record import RunRecord


def differing_keys(runs: Sequence[RunRecord]) -> list[str]:
    """Return, for each run, the keys and values in which runs of the same name differ.

    Runs have the same name if their folders' names are equal up to the hash at the end. A key is
    written as in `optimizer.passes=40`; there are none where no other run has the name. Those of
    the run that it started from are left out: tables name that run.
    """
    keys = [
        {k: v for k, v in identity_keys(run.config).items() if not k.startswith("init_from.")}
        for run in runs
    ]
    names = [run.folder.path.name.rpartition("-")[0] for run in runs]
    found = []
    for own, name in zip(keys, names, strict=True):
        others = [other for other, same in zip(keys, names, strict=True) if same == name]
        every = dict.fromkeys(key for other in others for key in other)
        differing = [key for key in every if len({str(other.get(key)) for other in others}) > 1]
        found.append(" ".join(f"{key}={own[key]}" for key in differing if key in own))
    return found
