"""The figure 'bound against cost' from outputs/paper/trust/trust.csv."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from iwae_cli.reports.figures.against_k import labelled
from iwae_cli.reports.figures.style import PAGE, legend_above

FAMILIES = {
    "samples of q": ("#0072B2", "o", r"L_\d+"),
    "Laplace proposal": ("#D55E00", "s", r"L_\d+ laplace"),
    "AIS, 16 chains": ("#009E73", "D", r"AIS T=\d+"),
}
TITLES = {"mnist-50-iwae-k50": "one layer, IWAE", "mnist-100_50-dreg-k50": "two layers, DReG"}


def trust_figure(table: pd.DataFrame) -> Figure:
    """Return a panel a model: gain over L_5000 with its standard error, against processor time.

    Args:
        table: As benchmarks/trust.py writes it.
    """
    models = list(dict.fromkeys(table["model"]))
    figure, panels = PAGE.panels(len(models))
    handles: dict[str, Line2D] = {}
    for panel, model in zip(panels, models, strict=True):
        for name, (colour, marker, pattern) in FAMILIES.items():
            own = table[(table["model"] == model) & table["estimator"].str.fullmatch(pattern)]
            own = own.sort_values("cpu_seconds_per_image")
            if own.empty:
                continue
            x, y = own["cpu_seconds_per_image"], own["gain_over_L_5000"]
            panel.errorbar(x, y, own["se_gain"], color=colour, marker=marker)
            handles[name] = Line2D([], [], color=colour, marker=marker)
            for at, gain, label in zip(x, y, own["estimator"], strict=True):
                text = label.removesuffix(" laplace").removeprefix("L_").removeprefix("AIS ")
                panel.annotate(
                    text, (at, gain), (4, -11), textcoords="offset points", fontsize=7, color=colour
                )
        panel.axhline(0, color="0.8", zorder=0)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xlabel("processor time (s per image)")
        panel.set_ylabel("above L$_{5000}$ (nats per image)")
        images = table.loc[table["model"] == model, "images"]
        few, many = images.min(), images.max()
        count = f"{few}" if few == many else f"{few} to {many}"
        panel.set_title(f"{TITLES.get(model, model)}, {count} test images")
    legend_above(figure, labelled(handles))
    return figure
