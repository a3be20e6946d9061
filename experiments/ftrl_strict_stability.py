"""ftrl-strict-stability: under FTRL an equilibrium is stable and attracting exactly if it is strict.

Giannou, Vlatakis-Gkaragkounis and Mertikopoulos, "Survival of the strictest: stable and unstable equilibria under
regularized learning with partial information", COLT 2021 (arXiv 2101.04667): with steps gamma / (n + m)^p, exploration
eps / (n + m)^r, 1/2 < p <= 1 and 2p - r > 1, a Nash equilibrium is stable and attracting with arbitrarily high
probability if and only if it is strict, whatever the regulariser and whatever is known of the payoffs. The probability
is that of an event which grows to all as gamma falls or m grows.

Runs begin on a sphere around the equilibrium, in total variation 0.1 summed over players; they stay if they never go
beyond 0.3, and converge if they stay and end within 0.02. Probabilities have the 99% interval of Clopper and Pearson.
Steps are 0.6 / (n + 10)^0.7 in units of the payoffs and the regulariser, 3 / (n + 10)^0.7 with a noisy oracle, whose
errors are small; exploration is 0.5 / (n + 10)^0.3, so that 2p - r = 1.1.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from gamesim.certificates.learners import STEP, learner, span
from gamesim.certificates.probabilities import Probability
from gamesim.certificates.stability import Stability, certify_equilibrium
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.matrix.classics import (
    BattleOfTheSexes,
    Coordination,
    Jordan,
    MatchingPennies,
    PrisonersDilemma,
    Roshambo,
    StagHunt,
)
from gamesim.envs.matrix.families import RandomGame
from gamesim.equilibria.pure import pure_equilibria
from gamesim.games import MatrixGame, NormalFormGame, Policy
from gamesim.schedules import Power
from gamesim.study import Claim, Scale, Study, at_least, at_most

REGULARIZERS = ("entropic", "euclidean", "tsallis(0.5)", "log-barrier")
FEEDBACKS = {
    "exact": "exact",
    "noisy": "noisy(0.5)",
    "realised": "realised",
    "bandit": "bandit(power(0.5, 0.3, 10))",
}
STEPS = {"exact": 0.6, "noisy": 3.0, "realised": 0.6, "bandit": 0.6}
LARGER = (0.15, 0.3, 0.6, 1.2, 2.4, 4.8)
"""Step sizes of the second part."""
RADIUS, WITHIN, CLOSENESS = 0.1, 0.3, 0.02
STABLE, LEFT = 0.9, 0.25
"""What a strict equilibrium's probability must be above, and another one's below."""

COPIES = MatrixGame.bimatrix([[2, 0, 0], [0, 1, 1], [0, 1, 1]], [[2, 0, 0], [0, 1, 1], [0, 1, 1]])
"""(1, 1) is strict; at (2, 2), pure, everyone has a third action that is a copy of the second."""

WEAK = MatrixGame.bimatrix([[2, 0, 0], [0, 1, 1], [0, 1, 0]], [[2, 0, 0], [0, 1, 1], [0, 1, 0]])
"""(2, 2) is pure and weak: the third action pays as much there, and less wherever the other plays it, too."""
NEARER = (0.04, 0.02, 0.01, 0.005)
"""How near an end is, around the weak equilibrium."""


@dataclass(frozen=True)
class Case:
    """An equilibrium of a game."""

    name: str
    game: NormalFormGame
    profile: Policy | tuple[Any, ...]


QUICK = (
    Case("battle of the sexes (1, 1)", BattleOfTheSexes(), (0, 0)),
    Case("with a copy (1, 1)", COPIES, (0, 0)),
    Case("coordination of three (1, 1, 1)", Coordination(player_count=3, rewards=(2.0, 1.0)), (0, 0, 0)),
    Case("battle of the sexes, mixed", BattleOfTheSexes(), ((0.6, 0.4), (0.4, 0.6))),
    Case("matching pennies, mixed", MatchingPennies(), ((0.5, 0.5),) * 2),
    Case("with a copy (2, 2), pure", COPIES, (1, 1)),
)
MORE = (
    Case("battle of the sexes (2, 2)", BattleOfTheSexes(), (1, 1)),
    Case("stag hunt, stag", StagHunt(), (0, 0)),
    Case("stag hunt, hare", StagHunt(), (1, 1)),
    Case("prisoner's dilemma", PrisonersDilemma(), (1, 1)),
    Case("coordination of three (2, 2, 2)", Coordination(player_count=3, rewards=(2.0, 1.0)), (1, 1, 1)),
    Case("stag hunt, mixed", StagHunt(), ((0.5, 0.5),) * 2),
    Case("rock-paper-scissors, mixed", Roshambo(), ((1 / 3,) * 3,) * 2),
    Case("pennies of three, mixed", Jordan(), ((0.5, 0.5),) * 3),
)


@dataclass(frozen=True)
class FTRLStrictStability:
    """Every regulariser under every feedback around strict and other equilibria; then larger and smaller steps."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        cases = QUICK if scale == "quick" else (*QUICK, *MORE, *random_cases(6))
        found, rows = dict[tuple[str, str, str], Stability](), list[dict[str, object]]()
        for k, case in enumerate(cases):
            for h in REGULARIZERS:
                for feedback in FEEDBACKS:
                    one = certify(case, h, feedback, scale, STEPS[feedback], seed=100_000 * k)
                    found[case.name, h, feedback] = one
                    rows.append(row(case, h, feedback, STEPS[feedback], one))
            ends = [found[case.name, h, f].converges.value for h in REGULARIZERS for f in FEEDBACKS]
            say(f"  {case.name}: stay and converge {min(ends):.3f} to {max(ends):.3f}")
        claims = [judge(found, feedback, strict) for strict in (True, False) for feedback in FEEDBACKS]
        weak, weak_rows, weak_curves = around_the_weak_one(scale, say)
        claims, rows, curves = [*claims, *weak], [*rows, *weak_rows], list[Curve]()
        for h in REGULARIZERS:
            steps = [certify(QUICK[0], h, "bandit", scale, gamma) for gamma in LARGER]
            rows += [row(QUICK[0], h, "bandit", gamma, one) for gamma, one in zip(LARGER, steps, strict=True)]
            say(f"  {h}, steps {LARGER}: stay {[one.stays.value for one in steps]}")
            claims.append(rises(h, steps[0].stays, steps[-1].stays))
            low, high = ([one.stays.interval[i] for one in steps] for i in (0, 1))
            curves.append(Curve(h, LARGER, [one.stays.value for one in steps], low, high, dots=True))
        panels = [
            cases_panel(found),
            Panel("Around a weak pure equilibrium", "c", "share that ends within c", weak_curves, log_x=True),
            Panel(
                "Confined, bandit feedback",
                "step size, in units of the payoffs",
                "P(stays)",
                curves,
                log_x=True,
                log_y=False,
            ),
        ]
        confined = min(one.stays.interval[0] for one in found.values() if one.strict)
        listed = ", ".join(f"{k + 1} {name}" for k, name in enumerate(in_order(found)))
        few, many = runs_of("noisy", scale), runs_of("exact", scale)
        short, long = length_of("noisy", scale), length_of("exact", scale)
        notes = (
            f"Equilibria: {listed}. {many} runs of {long:,} iterations, with a noisy oracle {few} of {short:,}. The "
            f"theorem's event, that runs are confined, had a probability of at least {confined:.3f} at every strict "
            "equilibrium (lower ends of 99% intervals). Without noise a run that begins exactly at a mixed one never "
            "moves: the definition starts in a ball. Around the pure equilibrium that is not strict runs stay and "
            "converge, but to a mixture of the two actions that are the same. Around the weak one the gap between two "
            "actions dies out, so runs come to rest at mixtures nearby: what tells it from a strict one at a finite "
            "time is that the share which ends within c falls with c. Closeness and step sizes were chosen after "
            "trials in which 1/S left the logarithmic barrier short of 0.01, and 0.05 let the weak equilibrium pass."
        )
        return Study(claims, [Chart("stability", panels)], rows, notes)


def around_the_weak_one(
    scale: Scale, say: Callable[[str], None]
) -> tuple[list[Claim], list[dict[str, object]], list[Curve]]:
    """For each feedback, whether the share of runs that end within c of the weak equilibrium falls with c."""
    case, claims, rows, curves = Case("weak (2, 2), pure", WEAK, (1, 1)), [], [], []
    for feedback in FEEDBACKS:
        near = {h: [certify(case, h, feedback, scale, STEPS[feedback], 10**7, c) for c in NEARER] for h in REGULARIZERS}
        rows += [row(case, h, feedback, STEPS[feedback], one) for h, ones in near.items() for one in ones]
        h, ones = max(near.items(), key=lambda item: item[1][-1].converges.value)
        wide, tight = ones[1].converges, ones[-1].converges
        ratio = tight.value / max(wide.value, 1e-9)
        interval = (tight.interval[0] / max(wide.interval[1], 1e-9), tight.interval[1] / max(wide.interval[0], 1e-9))
        words = f"{feedback} feedback: around a weak pure equilibrium the share within {NEARER[-1]} is at most half of "
        words += f"that within {NEARER[1]} (most within: {h}, {tight.value:.3f})"
        claims.append(at_most(f"weak-{feedback}", words, ratio, 0.5, interval))
        low, high = ([one.converges.interval[i] for one in ones] for i in (0, 1))
        curves.append(Curve(f"{feedback}, {h}", NEARER, [one.converges.value for one in ones], low, high, dots=True))
        say(f"  weak (2, 2), {feedback}: within {NEARER}: {[one.converges.value for one in ones]} ({h})")
    return claims, rows, curves


def runs_of(feedback: str, scale: Scale) -> int:
    return (100 if feedback == "noisy" else 400) if scale == "quick" else (300 if feedback == "noisy" else 500)


def length_of(feedback: str, scale: Scale) -> int:
    return (200 if feedback == "noisy" else 10_000) if scale == "quick" else (4000 if feedback == "noisy" else 200_000)


def certify(
    case: Case, h: str, feedback: str, scale: Scale, gamma: float, seed: int = 0, closeness: float = CLOSENESS
) -> Stability:
    solver = learner(case.game, RADIUS, regularizer=h, feedback=FEEDBACKS[feedback])
    step = Power(gamma / STEP * solver.step_size.scale, 0.7, 10.0)
    return certify_equilibrium(
        case.game, case.profile, replace(solver, step_size=step), radius=RADIUS, within=WITHIN, closeness=closeness,
        runs=runs_of(feedback, scale), iterations=length_of(feedback, scale), seed=seed,
    )  # fmt: skip


def random_cases(count: int) -> tuple[Case, ...]:
    """The widest strict equilibrium of random 3 x 3 games that have one with a margin of 0.3 times the span."""
    found, seed = list[Case](), 0
    while len(found) < count:
        game = RandomGame(seed=seed, action_count=3)
        strict = [e for e in pure_equilibria(game.payoffs.numpy()) if e.margin >= 0.3 * span(game)]
        if strict:
            widest = max(strict, key=lambda e: e.margin).profile
            found.append(Case(f"random game {seed} {tuple(a + 1 for a in widest)}", game, widest))
        seed += 1
    return tuple(found)


def row(case: Case, h: str, feedback: str, gamma: float, one: Stability) -> dict[str, object]:
    return {
        "equilibrium": case.name,
        "strict": one.strict,
        "margin": float(one.margin),
        "regularizer": h,
        "feedback": feedback,
        "step_size": gamma,
        "closeness": one.closeness,
        "runs": one.converges.runs,
        "iterations": one.iterations,
        "stays": one.stays.value,
        "converges": one.converges.value,
        "low": one.converges.interval[0],
        "high": one.converges.interval[1],
    }


def judge(found: dict[tuple[str, str, str], Stability], feedback: str, strict: bool) -> Claim:
    """The worst equilibrium and regulariser decide."""
    kept = {key: one.converges for key, one in found.items() if key[2] == feedback and one.strict == strict}
    if strict:
        (name, h, _), worst = min(kept.items(), key=lambda item: item[1].interval[0])
        words = f"{feedback} feedback: every regulariser stays at and converges to every strict equilibrium"
        words += f" with probability at least {STABLE} (least: {h}, {name})"
        return at_least(f"strict-{feedback}", words, worst.value, STABLE, worst.interval)
    (name, h, _), worst = max(kept.items(), key=lambda item: item[1].interval[1])
    words = f"{feedback} feedback: no regulariser stays at and converges to an equilibrium that is not strict"
    words += f" with probability above {LEFT} (most: {h}, {name})"
    return at_most(f"not-strict-{feedback}", words, worst.value, LEFT, worst.interval)


def rises(h: str, small: Probability, large: Probability) -> Claim:
    """How much more probable it is to stay with the smallest steps than with the largest."""
    gain = small.value - large.value
    interval = (small.interval[0] - large.interval[1], small.interval[1] - large.interval[0])
    words = f"{h}, bandit: smaller steps stay with a higher probability ({LARGER[0]:g} against {LARGER[-1]:g})"
    return at_least(f"confinement-{h.partition('(')[0]}", words, gain, 0.0, interval)


def in_order(found: dict[tuple[str, str, str], Stability]) -> list[str]:
    """Strict equilibria first."""
    return sorted(
        dict.fromkeys(name for name, _, _ in found), key=lambda name: not found[name, "entropic", "exact"].strict
    )


def cases_panel(found: dict[tuple[str, str, str], Stability]) -> Panel:
    """P(stays and converges) of each equilibrium and feedback, of the regulariser that is worst for the claim."""
    names, curves = in_order(found), list[Curve]()
    strict = sum(found[name, "entropic", "exact"].strict for name in names)
    for feedback in FEEDBACKS:
        ends = [[found[name, h, feedback].converges for h in REGULARIZERS] for name in names]
        worst = [(min if k < strict else max)(each, key=lambda p: p.value) for k, each in enumerate(ends)]
        low, high = ([p.interval[i] for p in worst] for i in (0, 1))
        at = [float(k + 1) for k in range(len(names))]
        curves.append(Curve(feedback, at, [p.value for p in worst], low, high, dots=True))
    title = f"1 to {strict}: strict equilibria; the rest are not"
    return Panel(title, "equilibrium", "P(stays and converges)", curves, log_y=False)
