"""bail-window: a prompt that holds too few episodes forgets what was found, and regret is linear with little slope.

The needle with n = 16 boxes and prizes in half of all episodes, in which the planner is told only the last W episodes.
Once found, a box is opened again and again; it is forgotten when its prize fails to show W times in a row, and the
search starts over. Such rows come about once in 2^(W+1) episodes: with W = 8 a search of some 15 is paid in small
change, .03 in each episode; with W = 16 it all but never happens, and with everything in the prompt it cannot.

The instance is ours, in the setting of He et al., ICML 2024, arXiv 2405.19883, where the prompt holds everything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from gamesim.algorithms.bail import BAIL
from gamesim.charts import Chart, Panel
from gamesim.envs.latent.needle import Needle
from gamesim.experiments.over_seeds import mean_interval
from gamesim.experiments.planning_regret import curve, regret_of, rows_of, shown, within
from gamesim.planning.exact import Bail
from gamesim.study import Claim, Scale, Study, at_least, at_most

BOXES = 16
WINDOWS: tuple[int | None, ...] = (4, 8, 16, 32, None)
REFERENCE = 0.034
"""Regret in an episode at W = 8 in an independent simulation."""
EFFORT: Mapping[Scale, tuple[tuple[int, ...], int]] = {
    "quick": (tuple(range(128, 1025, 128)), 384),
    "full": (tuple(range(256, 4097, 256)), 384),
}


@dataclass(frozen=True)
class BailWindow:
    """Regret against episodes for several windows; slopes over the second half of the runs."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        episodes, seeds = EFFORT[scale]
        world = Needle(boxes=BOXES)
        regret = {
            _name(window): regret_of(world, BAIL(planner=Bail(window=window)), episodes, seeds) for window in WINDOWS
        }
        half = len(episodes) // 2 - 1
        slopes = {name: (y[:, -1] - y[:, half]) / (episodes[-1] - episodes[half]) for name, y in regret.items()}
        say("  " + ", ".join(f"{name}: {float(x.mean()):.4f} an episode" for name, x in slopes.items()))
        claims = judged(slopes)
        claims.append(constant(regret["window 8"], episodes))
        curves = [curve(name, episodes, y) for name, y in regret.items()]
        panel = Panel(f"{BOXES} boxes, and a prompt of so many episodes", "episodes T", "regret", curves, log_y=False)
        notes = f"Mean regret at T = {list(episodes)}: {shown(regret)}."
        return Study(claims, [Chart("regret", [panel])], list(rows_of(regret, episodes)), notes)


def judged(slopes: Mapping[str, Tensor]) -> list[Claim]:
    claims = list[Claim]()
    mean, interval = mean_interval(slopes["window 8"])
    statement = f"window 8: regret in an episode, {REFERENCE:g} in an independent simulation"
    claims.append(within("window-8-slope", statement, mean, 0.5 * REFERENCE, 1.5 * REFERENCE, interval))
    mean, interval = mean_interval(slopes["window 4"] - slopes["window 8"])
    statement = "half the window loses more in an episode (difference)"
    claims.append(at_least("window-4-worse", statement, mean, 0.0, interval))
    for window in WINDOWS[2:]:
        mean, interval = mean_interval(slopes[_name(window)])
        statement = f"{_name(window)}: regret is flat: in an episode at most a tenth of that of window 8"
        claims.append(at_most(f"{_name(window).replace(' ', '-')}-flat", statement, mean, REFERENCE / 10, interval))
    return claims


def constant(y: Tensor, episodes: tuple[int, ...]) -> Claim:
    """The slope of the run, after its first quarter, in two halves."""
    count = len(episodes)
    a, b, c = (y[:, i - 1] for i in (count // 4, 5 * count // 8, count))
    mean, interval = mean_interval((c - 2 * b + a) / (b - a).mean())
    statement = "window 8: after a quarter of the run the slope is constant: its second half over its first, minus 1"
    return within("window-8-constant", statement, mean, -0.5, 0.5, interval)


def _name(window: int | None) -> str:
    return "everything" if window is None else f"window {window}"
