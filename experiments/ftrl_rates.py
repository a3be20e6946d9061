"""ftrl-rates: near a strict equilibrium the rate of FTRL is a matter of the regulariser, not of the feedback.

Giannou, Vlatakis-Gkaragkounis and Mertikopoulos, "On the rate of convergence of regularized learning in games: from
bandits and uncertainty to optimism and beyond", NeurIPS 2021. Let S_n be the sum of the step sizes and c the margin of
the equilibrium. On the event that a run converges the scores of all other actions fall behind by c S_n + o(S_n), so

    entropic       log distance = -c S_n       geometric
    euclidean      distance = 0 exactly        after finitely many steps
    tsallis(q)     distance ~ S_n^(-1/(1-q))   S^-2 at q = 1/2
    log-barrier    distance ~ 1 / S_n

Slopes are fitted on the last decade and a half of S; the interval joins that over runs with the regression's and its
windows'. Distances come from scores, since a probability close to 1 has lost the digits of its distance from 1.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms.ftrl import FTRL
from gamesim.certificates.probabilities import Probability
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.matrix.classics import BattleOfTheSexes, Coordination
from gamesim.equilibria.pure import pure_equilibria
from gamesim.experiments.over_seeds import band, slope
from gamesim.feedback import Feedback
from gamesim.games import NormalFormGame, Policy
from gamesim.loop import Observer, Run, solve
from gamesim.parameters import convert
from gamesim.regularizers import Regularizer
from gamesim.schedules import Constant, Power, Schedule
from gamesim.study import Claim, Interval, Scale, Study, at_least, at_most

ORDERS = {"entropic": None, "euclidean": None, "tsallis(0.5)": -2.0, "log-barrier": -1.0}
"""The predicted slope of log distance in log S."""
FEEDBACKS = {
    "exact": "exact",
    "noisy": "noisy(0.5)",
    "realised": "realised",
    "bandit": "bandit(power(0.2, 0.3, 10))",
}
TOLERANCE = {"exact": 0.05, "noisy": 0.1, "realised": 0.1, "bandit": 0.1}
"""Of fitted slopes, relative to the predicted ones."""
AWAY = 0.2
"""The probability that each player begins with away from the equilibrium."""
DECADES = 1.5


@dataclass(frozen=True)
class FTRLRates:
    """Four regularisers under four feedbacks, from 0.2 away from an equilibrium that pays more than all else by c."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        games: dict[str, NormalFormGame] = {"battle of the sexes": BattleOfTheSexes()}
        if scale == "full":
            games["coordination of three"] = Coordination(player_count=3, rewards=(2.0, 1.0))
        claims, rows = list[Claim](), list[dict[str, object]]()
        curves: dict[str, list[Curve]] = {h: [] for h in ORDERS}
        for name, game in games.items():
            first = name == next(iter(games))
            margin = float(pure_equilibria(game.payoffs.numpy())[0].margin)  # type: ignore[attr-defined]
            for feedback in FEEDBACKS:
                events = dict[str, Probability]()
                for h in ORDERS:
                    path = follow(game, h, feedback, scale)
                    events[h] = Probability(int(path.arrived.sum()), len(path.arrived))
                    found = path.judged(h, margin)
                    id = f"{h.partition('(')[0]}-{feedback}" + ("" if first else f"-{name.replace(' ', '-')}")
                    claims.append(judge(id, name, h, feedback, margin, found))
                    if first:
                        curves[h].append(path.curve(h, feedback))
                    rows += path.rows(name, h, feedback, found.value)
                    say(f"  {name}, {h}, {feedback}: {found.value:.4g} for {found.predicted:.4g}; "
                        f"{events[h].value:.3f} of runs converge")  # fmt: skip
                if feedback == "exact":  # one run, without chance
                    claims.append(finite_time(name, game, first, follow(game, "euclidean", "exact", scale)))
                    continue
                id = f"event-{feedback}" + ("" if first else f"-{name.replace(' ', '-')}")
                worst = min(events, key=lambda h: events[h].interval[0])
                words = f"{name}, {feedback}: runs converge with probability at least 0.9 (least: {worst})"
                claims.append(at_least(id, words, events[worst].value, 0.9, events[worst].interval))
        panels = [
            Panel("Entropic: geometric", "S", "log10 of the distance", curves["entropic"], log_y=False),
            Panel("Euclidean: finite", "S", "share of runs not exactly there", curves["euclidean"], log_x=True,
                  log_y=False),
            Panel("Tsallis 1/2", "S", "distance", curves["tsallis(0.5)"], log_x=True, theory={"S^-2": -2.0}),
            Panel("Log-barrier", "S", "distance", curves["log-barrier"], log_x=True, theory={"1/S": -1.0}),
        ]  # fmt: skip
        runs, long, short = runs_of("bandit", scale), length_of("bandit", scale), length_of("noisy", scale)
        notes = (
            "Runs that do not converge are left out of the fits; how many do is a claim of its own. Steps are constant "
            f"with exact feedback and gamma / (n + m)^0.7 otherwise; {runs} runs of {long:,} iterations, with a noisy "
            f"oracle {short:,}. Under bandit feedback everyone explores, which takes from the margin a share of the "
            "order of the exploration."
        )
        return Study(claims, [Chart("rates", panels)], rows, notes)


@dataclass(frozen=True)
class Found:
    """A fitted number beside the predicted one."""

    value: float
    predicted: float
    interval: Interval


@dataclass
class Recorder(Observer):
    """The logarithm of the distance to the first pure profile at each measure, [seed], from scores."""

    regularizer: Regularizer
    times: list[int] = field(default_factory=list)
    found: list[Tensor] = field(default_factory=list)

    def measured(self, run: Run) -> None:
        self.times.append(run.iteration)
        self.found.append(log_distance(run.state, self.regularizer))


def log_distance(state: Any, regularizer: Regularizer) -> Tensor:
    """log sum_i (1 - x_i[0]), [seed]: of entropic FTRL log-odds, of the others the sum of what the others have."""
    if str(regularizer) == "entropic":
        return torch.stack([y.log_softmax(-1)[..., 1:].logsumexp(-1) for y in state.scores]).logsumexp(0)
    return torch.stack([x[..., 1:].sum(-1) for x in state.policy]).sum(0).log()


@dataclass(frozen=True)
class Path:
    """What was recorded of runs under one feedback."""

    S: Tensor
    """[record], from the second record on: S of the first is 0."""
    logs: Tensor
    """log distance [seed, record]; minus infinity where it is 0."""

    @property
    def arrived(self) -> Tensor:
        """The event of convergence: the last distance is below a tenth of the first."""
        return self.logs[:, -1] < self.logs[:, 0] - 2.3

    @property
    def late(self) -> Tensor:
        return self.S[-1] / 10**DECADES <= self.S

    def judged(self, h: str, margin: float) -> Found:
        kept, S = self.logs[self.arrived], self.S
        if h == "euclidean":  # the share of runs that are exactly there in all of the last decade and a half
            there = Probability(int((kept[:, self.late] == -torch.inf).all(-1).sum()), len(kept))
            return Found(there.value, 1.0, there.interval)
        if h == "entropic":  # a line: exponentials of both sides make it a power law, scaled to stay within floats
            scale = float(-kept.min())
            value, interval = slope((S[self.late] / scale).exp().tolist(), (kept[:, self.late] / scale).exp())
            return Found(value, -margin, interval)
        value, interval = slope(S[self.late].tolist(), kept[:, self.late].exp())
        return Found(value, ORDERS[h] or 0.0, interval)

    def curve(self, h: str, label: str) -> Curve:
        kept, S = self.logs[self.arrived], self.S.tolist()
        if h == "entropic":
            return Curve(label, S, (kept.mean(0) / torch.tensor(10.0).log()).tolist(), dots=True)
        if h == "euclidean":
            return Curve(label, S, (kept > -torch.inf).double().mean(0).tolist(), dots=True)
        return band(label, S, kept.exp(), dots=True)

    def rows(self, name: str, h: str, feedback: str, value: float) -> list[dict[str, object]]:
        kept = self.logs[self.arrived]
        finite = torch.where(kept.isfinite(), kept, torch.nan)
        return [
            {
                "game": name,
                "regularizer": h,
                "feedback": feedback,
                "S": float(s),
                "mean_log_distance": float(finite[:, k].nanmean()),
                "exactly_there": float((kept[:, k] == -torch.inf).double().mean()),
                "converged": float(self.arrived.double().mean()),
                "fitted": value,
            }
            for k, s in enumerate(self.S.tolist())
        ]


def follow(game: NormalFormGame, h: str, feedback: str, scale: Scale) -> Path:
    regularizer = convert(h, Regularizer, "regularizer")
    unit = AWAY * regularizer.curvature(AWAY)
    step: Schedule = Constant(0.1 * unit)
    if feedback != "exact":
        step = Power(20 * unit, 0.7, 1000 if feedback == "noisy" else 10_000)
    record, T = Recorder(regularizer), length_of(feedback, scale)
    solver = FTRL(step, regularizer, feedback=convert(FEEDBACKS[feedback], Feedback, "feedback"))
    solve(
        game,
        solver,
        iterations=T,
        every="log",
        seeds=runs_of(feedback, scale),
        start=beginning(game),
        observers=[record],
    )
    sums = torch.tensor([float(step(t)) for t in range(T)], dtype=torch.float64).cumsum(0)
    S = torch.stack([sums[t - 1] for t in record.times[1:]])
    return Path(S, torch.stack(record.found[1:], -1))


def finite_time(name: str, game: NormalFormGame, first: bool, path: Path) -> Claim:
    """Euclidean scores must lead by 1; leads grow with S at least as fast as at the start, where margins are least."""
    start = beginning(game)
    leads = [x[0] - x[1:].max() for x in start]
    margins = [v[0] - v[1:].max() for v in game.values(start)]
    bound = max(float((1 - lead) / margin) for lead, margin in zip(leads, margins, strict=True))
    last = float(path.S[path.logs[0] > -torch.inf].max())
    words = f"{name}, euclidean, exact: S when it was last measured away from the equilibrium is at most {bound:.3g}"
    return at_most("finite-exact" + ("" if first else f"-{name.replace(' ', '-')}"), words, last, bound)


def beginning(game: NormalFormGame) -> Policy:
    rows = [[1 - AWAY] + [AWAY / (count - 1)] * (count - 1) for count in game.action_counts]
    return tuple(torch.tensor(row, dtype=torch.float64) for row in rows)


def runs_of(feedback: str, scale: Scale) -> int:
    return 1 if feedback == "exact" else 100 if scale == "quick" else 400


def length_of(feedback: str, scale: Scale) -> int:
    lengths = {"exact": (10_000, 100_000), "noisy": (1200, 6000)}.get(feedback, (100_000, 1_000_000))
    return lengths[0] if scale == "quick" else lengths[1]


def judge(id: str, name: str, h: str, feedback: str, margin: float, found: Found) -> Claim:
    words = f"{name}, {h}, {feedback}: "
    if h == "euclidean":
        words += "of the runs that converge, so many are exactly there throughout the last decade and a half of S"
        return at_least(id, words, found.value, 0.9, found.interval if feedback != "exact" else None)
    tolerance = TOLERANCE[feedback]
    what = f"log distance falls by c = {margin:g} per S" if h == "entropic" else f"distance falls like S^{ORDERS[h]:g}"
    words += f"{what}, within {tolerance:.0%} (slope {found.value:.3f})"
    ratios = sorted(abs(end / found.predicted - 1) for end in found.interval)
    inside = min(found.interval) <= found.predicted <= max(found.interval)
    off = (0.0 if inside else ratios[0], ratios[1])
    return at_most(id, words, abs(found.value / found.predicted - 1), tolerance, off)
