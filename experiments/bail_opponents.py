"""bail-opponents: who is the other? Planners against opponents of unknown type in the repeated prisoner's dilemma.

The latent is one of six automata (always cooperate ALLC, always defect ALLD, tit for tat, GRIM, win-stay lose-shift,
random), a match has ten rounds, hands slip in 2% of them, payoffs are 5, 3, 1, 0, in fifths, and experts are exact best
responses. He, Chen, Zhang and Yang, ICML 2024, arXiv 2405.19883, say that who follows a perfectly pretrained language
model without exploring may have linear regret. Here it is not the model, it is how it is decoded and trained:

    drawn from the mixture       o(T): while a type is possible its expert is sometimes followed, which tells
    greedy, or temperature .2    linear against ALLC: while one cooperates, ALLC looks like tit for tat, for ever
    deluded                      linear against everybody: own words count as evidence
    exploring, 5% of matches     greedy decoding is mended, at a price that is linear again, and small

What a planner has learned about one opponent, another one can use: in rock, paper, scissors with pure types the
mixture starts at the equilibrium, and after some matches against rock it is sure of paper and loses every round to
scissors. Exploitability is that of its law at every history of a match, as a policy of a stochastic game.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gamesim.algorithms.bail import BAIL
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.latent.opponents import Opponents
from gamesim.errors import Caution
from gamesim.experiments.over_seeds import mean_interval
from gamesim.loop import Result, solve
from gamesim.planning import MAP, Bail, Constant
from gamesim.planning.exploiting import exploit
from gamesim.planning.regret import exponent
from gamesim.study import Claim, Scale, Study, at_least, at_most

EXPERTS: Mapping[str, float] = {"ALLC": 9.84, "ALLD": 2.16, "TFT": 6.28, "GRIM": 6.28, "WSLS": 6.36, "RAND": 6.0}
"""What experts get in a match, in an independent computation, rounded."""
LOST_TO_COOPERATORS = 1697 / 512
"""Regret a match of greedy decoding against ALLC, there: mean over 256 runs of 512 matches."""
EXPLORING = 0.05
SOLVERS: Mapping[str, Any] = {
    "naive": BAIL(),
    "argmax": BAIL(temperature=0.0),
    "temperature .2": BAIL(temperature=0.2),
    "deluded": BAIL(planner=Bail(delusion=1.0)),
    "exploring": BAIL(exploration=Constant(EXPLORING)),
    "argmax, exploring": BAIL(temperature=0.0, exploration=Constant(EXPLORING)),
}
TRUTHS = ("ALLC", "GRIM", "TFT", "WSLS")
EFFORT: Mapping[Scale, tuple[tuple[int, ...], int]] = {
    "quick": ((16, 32, 64, 128), 96),
    "full": ((32, 64, 128, 256, 512), 256),
}
Regrets = Mapping[tuple[str, str], Tensor]
"""By truth and solver, [seed, row]: a row for each number of matches."""


@dataclass(frozen=True)
class BailOpponents:
    """Regret of planners against matches played, and what an opponent gains who knows the planner."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        matches, seeds = EFFORT[scale]
        found = dict[tuple[str, str], Tensor]()
        for truth in TRUTHS:
            for name, solver in SOLVERS.items():
                found[truth, name] = regret(truth, solver, matches, seeds)
            lost = {name: round(float(found[truth, name].mean(0)[-1]), 1) for name in SOLVERS}
            say(f"  {truth} after {matches[-1]} matches: {lost}")
        used, more = exploited(16 if scale == "quick" else 64, seeds)
        say(f"  exploitability a round: { {name: round(float(y.mean()), 3) for name, y in used.items()} }")
        claims = [expert_values(), *growths(found, matches), *more]
        rows = [
            {"truth": truth, "planner": name, "matches": n, "seed": seed, "regret": float(y[seed, i])}
            for (truth, name), y in found.items()
            for i, n in enumerate(matches)
            for seed in range(seeds)
        ]
        charts = [Chart("regret", [panel(truth, found, matches) for truth in TRUTHS])]
        return Study(claims, charts, rows, NOTES)


def played(world: Opponents, solver: BAIL, matches: int, seeds: int, every: int = 1) -> Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)  # that some of these planners are promised nothing is the point
        return solve(world, solver, iterations=matches, every=every, seeds=seeds)


def regret(truth: str, solver: BAIL, matches: Sequence[int], seeds: int) -> Tensor:
    """[seed, row] after each number of matches."""
    result = played(Opponents(truth=truth), solver, matches[-1], seeds, matches[0])
    rows = [result.trace.iterations.index(n) for n in matches]
    return result.metric("regret")[:, rows]


def expert_values() -> Claim:
    """The best responses, by dynamic programming."""
    world = Opponents()
    away = max(abs(float(v) - EXPERTS[name]) for name, v in zip(world.latents, world.value, strict=True))
    statement = "experts get 9.84 of ALLC, 2.16 of ALLD, 6.28 of TFT and GRIM, 6.36 of WSLS, 6.00 of RAND"
    return at_most("experts", f"{statement} (largest difference, figures rounded)", away, 0.005)


def growths(found: Regrets, matches: Sequence[int]) -> list[Claim]:
    """Exponents of the number of matches, and what is added in the second half of the run."""
    claims = list[Claim]()
    fit = exponent(matches, found["ALLC", "argmax"])
    claims.append(within("argmax-allc", "argmax against ALLC: the exponent is 1 (distance)", fit.value, fit.interval))
    loss, interval = mean_interval(found["ALLC", "argmax"][:, -1] / matches[-1] / LOST_TO_COOPERATORS)
    statement = "argmax against ALLC: regret a match over that of an independent simulation, from 1 (distance)"
    claims.append(within("argmax-allc-slope", statement, loss, interval, 0.1))
    fit = exponent(matches, found["ALLC", "naive"])
    claims.append(at_most("naive-allc", "naive against ALLC: its exponent is below 0.9", fit.value, 0.9, fit.interval))
    fit = exponent(matches, found["ALLC", "argmax, exploring"])
    statement = "argmax with exploration against ALLC: sublinear here, its exponent is below 0.9"
    claims.append(at_most("argmax-exploring-allc", statement, fit.value, 0.9, fit.interval))
    less, more = (found["ALLC", name][:, -1] for name in ("argmax, exploring", "argmax"))
    mean, interval = mean_interval(less - more)
    statement = f"exploration helps argmax against ALLC: regret after {matches[-1]} matches (difference)"
    claims.append(at_most("exploration-helps", statement, mean, 0.0, interval))
    for name in ("naive", "argmax"):
        for truth in TRUTHS[1:]:
            grown = found[truth, name][:, -1] - found[truth, name][:, -2]
            mean, interval = mean_interval(grown)
            statement = f"{name} against {truth}: flat, the second half of the matches adds at most 0.5"
            claims.append(at_most(f"{name}-{truth.lower()}-flat", statement, mean, 0.5, interval))
    for truth in TRUTHS:
        fit = exponent(matches, found[truth, "deluded"])
        statement = f"deluded against {truth}: linear, the exponent is 1 (distance)"
        claims.append(within(f"deluded-{truth.lower()}", statement, fit.value, fit.interval, 0.1))
    return claims


def within(id: str, statement: str, value: float, interval: tuple[float, float], most: float = 0.05) -> Claim:
    """|value - 1| <= most, by the whole interval."""
    low, high = interval
    nearest = 0.0 if low <= 1 <= high else min(abs(low - 1), abs(high - 1))
    farthest = max(abs(low - 1), abs(high - 1))
    return at_most(id, f"{statement}, at most {most:g}", abs(value - 1), most, (nearest, farthest))


def exploited(matches: int, seeds: int, rounds: int = 3) -> tuple[dict[str, Tensor], list[Claim]]:
    """Exploitability in rock, paper, scissors: of the first round before anything was heard, and after matches."""
    types = ("always rock", "always paper", "always scissors")
    game = "matrix/rock-paper-scissors"
    world = Opponents(game=game, types=types, rounds=rounds, truth="always rock")
    found = dict[str, Tensor]()
    for planner in (Bail(), MAP()):
        found[f"{planner} at first"] = exploit(planner, world, rounds=1).exploitability
        memory = played(world, BAIL(planner=planner), matches, seeds, matches).state.memory
        later = exploit(planner, world, memory, front=(seeds,))
        found[f"{planner} later"] = later.exploitability / rounds
    claims = [
        at_most(
            "bail-equilibrium", "bail starts at the equilibrium: exploitability", float(found["bail at first"]), 1e-9
        ),
        at_least(
            "map-exploitable", "map never mixes: exploitability, of at most 1", float(found["map at first"]), 0.999
        ),
    ]
    mean, interval = (
        mean_interval(found["bail later"])
        if bool(found["bail later"].std() > 0)
        else (float(found["bail later"].mean()), None)
    )
    statement = f"bail after {matches} matches against rock: exploitability a round, of at most 1"
    return found, [*claims, at_least("bail-exploitable", statement, mean, 0.5, interval)]


def panel(truth: str, found: Regrets, matches: Sequence[int]) -> Panel:
    x = [float(n) for n in matches]
    curves = [Curve(name, x, found[truth, name].mean(0).clamp(min=1e-3).tolist(), dots=True) for name in SOLVERS]
    return Panel(f"Against {truth}", "matches", "regret, fifths of a point", curves, log_x=True)


NOTES = (
    "Regret adds up V* - Q* of what was said, so that it has no noise of payoffs. The mean of the naive planner "
    "against ALLC hangs on few runs: after an unlucky slip of the hand the posterior locks on tit for tat or GRIM, "
    "which look like ALLC to who cooperates. Exploring a constant share of matches costs that share for ever; with "
    "the share of the theory it would fall."
)
