"""The picture of a study of N agents: value gap and gain of a deviation against N, with bands."""

import math
from collections.abc import Mapping

import torch

from gamesim.charts import Chart, Curve, Panel
from gamesim.populations.gaps import FiniteGap, Quantity

PANELS: dict[Quantity, tuple[str, str]] = {
    "value_gap": ("Value among N against the continuum", "root mean square over agents of J^N - J"),
    "gain": ("What one agent gains by its best answer", "mean gain of a deviation"),
}


def gap_chart(gaps: Mapping[str, FiniteGap], name: str = "finite-population") -> Chart:
    """One panel for the value gap and one for the gain, if it was measured; a curve for each label."""
    panels = []
    for quantity, (title, y) in PANELS.items():
        shown = {label: gap for label, gap in gaps.items() if quantity == "value_gap" or gap.gains.shape[2]}
        if shown:
            curves = [_curve(label, gap, quantity) for label, gap in shown.items()]
            theory = {"N^(-1/2)": -0.5} if quantity == "value_gap" else {}
            panels.append(Panel(title, "agents N", y, curves, log_x=True, theory=theory))
    return Chart(name, panels)


def _curve(label: str, gap: FiniteGap, quantity: Quantity) -> Curve:
    """The band of a quantity on a logarithmic axis: what is not above zero is left out, a band is cut where it ends."""
    band, fit = gap.band(quantity), gap.fit(quantity)
    floor = 1e-3 * float(band.mean.abs().max())
    mean = torch.where(band.mean > 0, band.mean, torch.nan)
    low, high = (x.clamp(min=floor).tolist() for x in (band.low, band.high))
    slope = "" if math.isnan(fit.slope) else f": slope {fit.slope:.2f}"
    return Curve(f"{label}{slope}", gap.agents, mean.tolist(), low, high, dots=True)
