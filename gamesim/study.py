"""What an experiment is: data, claims made testable with a verdict each, and charts of the data.

An experiment is a class with `run(scale, say) -> Study`; `reproduce` runs it, writes its data, figures and report, and
judges. A claim that fails is reported as such; a claim is *undecided* when its interval holds the threshold.
"""

import csv
import io
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from gamesim.charts import Chart
from gamesim.files import own_folder, require_name, write_json, write_text
from gamesim.formats.tidy import quoted

Verdict = Literal["holds", "fails", "undecided"]
Scale = Literal["quick", "full"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Claim:
    """A statement of a paper made testable."""

    id: str
    statement: str
    verdict: Verdict
    statistic: float
    interval: Interval | None = None


def at_most(id: str, statement: str, statistic: float, bound: float, interval: Interval | None = None) -> Claim:
    """A claim that a number is at most a bound: decided by the whole interval where there is one.

    >>> at_most("slope", "falls like 1/t", -0.8, -1.0, (-1.1, -0.5)).verdict
    'undecided'
    """
    low, high = interval or (statistic, statistic)
    if not np.isfinite([low, high]).all():
        return Claim(id, statement, "undecided", statistic, interval)
    verdict: Verdict = "holds" if high <= bound else "fails" if low > bound else "undecided"
    return Claim(id, statement, verdict, statistic, interval)


def at_least(id: str, statement: str, statistic: float, bound: float, interval: Interval | None = None) -> Claim:
    """A claim that a number is at least a bound."""
    flipped = at_most(id, statement, -statistic, -bound, interval and (-interval[1], -interval[0]))
    return Claim(id, statement, flipped.verdict, statistic, interval)


@dataclass(frozen=True)
class Slope:
    """A fitted power law y ~ x^slope: least squares in logarithms."""

    value: float
    interval: Interval
    """The 95% interval of the regression, widened by the slopes of every shorter window."""
    window: Interval


def fit_slope(x: Sequence[float], y: Sequence[float], *, shortest: int = 4) -> Slope:
    """The slope of log y against log x, with what the regression and a shifted window leave open.

    >>> round(fit_slope([1, 2, 4, 8, 16], [1, 1/2, 1/4, 1/8, 1/16]).value, 9)
    -1.0
    """
    from scipy.stats import linregress, t

    u, v = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    whole = linregress(u, v)
    half = float(t.ppf(0.975, len(u) - 2) * whole.stderr)
    windows = [float(linregress(u[i:j], v[i:j]).slope) for i in range(len(u)) for j in range(i + shortest, len(u) + 1)]
    low, high = min([whole.slope - half, *windows]), max([whole.slope + half, *windows])
    return Slope(float(whole.slope), (float(low), float(high)), (float(x[0]), float(x[-1])))


@dataclass(frozen=True)
class Study:
    """What an experiment found. data: tidy rows, all with the same keys, written as data.csv."""

    claims: Sequence[Claim]
    charts: Sequence[Chart]
    data: Sequence[Mapping[str, Any]]
    notes: str = ""


class Experiment(Protocol):
    """One file of the room `experiments`: its docstring says what is claimed and by whom."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study: ...


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Tidy rows as CSV; text that a spreadsheet would take for a formula is quoted."""
    rows = list(rows)
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: quoted(v) if isinstance(v, str) else v for k, v in r.items()} for r in rows)
    return text.getvalue()


def reproduce(
    experiments: Mapping[str, Any], scale: Scale, out: Path, say: Callable[[str], None] = lambda text: None
) -> list[dict[str, Any]]:
    """Run experiments (id -> class), write OUT/<id>/ and OUT/report.html, and return their claims as JSON data."""
    from gamesim.figures import draw_chart, report, save

    own_folder(out)
    results, sections = [], []
    for name, experiment in experiments.items():
        folder = own_folder(out / require_name(name.replace(":", "-"), "experiment"))
        say(f"{name} ({scale})")
        started = time.perf_counter()
        study: Study = experiment().run(scale, say)
        figures = [(chart.name, draw_chart(chart)) for chart in study.charts]
        paths = [str(path) for title, figure in figures for path in save(figure, folder / "figures", title)]
        result = {
            "experiment": name,
            "claims": [
                {
                    "id": c.id,
                    "statement": c.statement,
                    "verdict": c.verdict,
                    "statistic": c.statistic,
                    "interval": c.interval,
                }
                for c in study.claims
            ],
            "figures": paths,
            "seconds": round(time.perf_counter() - started, 3),
        }
        write_text(folder / "data.csv", table(study.data))
        write_json(folder / "claims.json", result)
        results.append(result)
        about = sys.modules[experiment.__module__].__doc__ or ""
        text = "\n\n".join(part.strip() for part in (about, experiment.__doc__ or "", study.notes) if part)
        sections.append((name, text, [(c.verdict, _words(c)) for c in study.claims], [figure for _, figure in figures]))
        write_text(out / "report.html", report("gamesim: claims and what was measured", sections))
    return results


def _words(claim: Claim) -> str:
    interval = "" if claim.interval is None else f", interval [{claim.interval[0]:.4g}, {claim.interval[1]:.4g}]"
    return f"{claim.statement} — measured {claim.statistic:.4g}{interval}"
