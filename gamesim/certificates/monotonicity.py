"""Weak monotonicity: a certificate where the interaction is linear, a search for a counterexample where it is not.

A game is weakly monotone if for all laws rho, rho' of states and actions at the positions, with state laws mu, mu',

    int sum_{s,a} (rho - rho')(s, a) (r_h(s, a, z(mu)) - r_h(s, a, z(mu'))) dk <= 0        at every step h

Zhang, Tan, Wang and Yang, "Learning regularized monotone graphon mean-field games", NeurIPS 2023, arXiv 2310.08089. It
asks about all populations, also those that no policy leads to, and about the game on its grid.
"""

from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from gamesim.certificates.falsifier import Violation, affordable, falsify
from gamesim.certificates.interaction import ROUNDING, Step, distinct_steps, slopes, violation
from gamesim.certificates.spectrum import LIMIT, TOLERANCE, Form, linear_form
from gamesim.games import GraphonGame
from gamesim.randomness import Stream

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Witness:
    """Two laws of states and actions that break the inequality at step h: put them into `violation`."""

    h: int
    one: Tensor
    """rho[k, s, a]."""
    other: Tensor
    """rho'[k, s, a]."""


@dataclass(frozen=True)
class Monotonicity:
    """Whether a game is weakly monotone, and how that is known."""

    verdict: Verdict
    """holds and fails are proofs up to rounding, by eigenvalues or by a pair; undecided: no pair was found."""
    reason: str
    kind: Literal["linear", "falsifier"]
    """Whether eigenvalues decided, or a search."""
    eigenvalues: dict[str, tuple[float, float]] | None
    """The least and the greatest of the graphon and of the interaction, or of both jointly where they do not part."""
    worst: float | None
    """The largest eigenvalue of the form: never above 0 (up to rounding) in a monotone game."""
    violation: float | None
    """By how much the witness breaks the inequality, evaluated with the game's own reward."""
    witness: Witness | None = field(default=None, repr=False)


def monotonicity(game: GraphonGame, pairs: int, generator: Stream) -> Monotonicity:
    """Judge every step of a game; `pairs` random pairs in all where a search is needed."""
    steps = distinct_steps(game, generator)
    forms, unknown = list[tuple[Step, Form]](), list[tuple[Step, str]]()
    for step in steps:
        K = slopes(step)
        form = None if K is None else linear_form(game, step.h, K, step.size)
        if K is None:
            unknown.append((step, "the reward is not linear in the aggregate"))
        elif form is not None:
            forms.append((step, form))
            if not form.exact and form.worst <= TOLERANCE * form.size:
                what = f"the grid has {len(game.grid)} positions and eigenvalues are certain up to {LIMIT}"
                unknown.append((step, f"{what} (give fewer positions, or operator=low-rank where there is one)"))

    if forms:
        broken = [(step, form) for step, form in forms if form.worst > TOLERANCE * form.size]
        step, form = max(broken or forms, key=lambda pair: pair[1].worst)
        if broken:
            found = _from_eigenvector(game, step, form)
            if found is not None:
                return _failed(found, _words(form), form)
            unknown.append((step, "a positive eigenvalue is too small to be seen in the rewards"))
        if not unknown:
            return Monotonicity(
                "holds", f"{_words(form)}: none is positive", "linear", form.eigenvalues, form.worst, None
            )
    elif not unknown:
        reason = "no difference of rewards depends on the population: both sides of the inequality are 0"
        return Monotonicity("holds", reason, "linear", None, 0.0, None)

    each = affordable(game, -(-pairs // len(unknown)))
    for step, why in unknown:
        pair = falsify(game, step.h, each, generator)
        if pair is not None:
            return _failed(pair, why, None)
    tried = f"none of {each * len(unknown)} random pairs, nor ascent from the best, breaks the inequality"
    return Monotonicity("undecided", f"{unknown[0][1]}; {tried}", "falsifier", None, None, None)


def _failed(found: Violation, why: str, form: Form | None) -> Monotonicity:
    reason = f"{why}; a pair of populations breaks the inequality by {found.value:.3g} at h = {found.h}"
    witness = Witness(found.h, found.one, found.other)
    if form is None:
        return Monotonicity("fails", reason, "falsifier", None, None, found.value, witness)
    return Monotonicity("fails", reason, "linear", form.eigenvalues, form.worst, found.value, witness)


def _words(form: Form) -> str:
    def ends(name: str) -> str:
        low, high = form.eigenvalues[name]
        return f"{low:.3g} to {high:.3g}"

    if "joint" in form.eigenvalues:
        return f"the interaction is linear, with eigenvalues from {ends('joint')} jointly with the graphon"
    graphon, inside = ends("graphon"), ends("interaction")
    worst = 0.0 if abs(form.worst) <= TOLERANCE * form.size else form.worst
    return (
        f"the interaction is linear; eigenvalues of the graphon go from {graphon}, of the interaction from {inside}, "
        f"their largest product is {worst:.3g}"
    )


def _from_eigenvector(game: GraphonGame, step: Step, form: Form) -> Violation | None:
    """rho = base + d+ and rho' = base + d-: the difference is the eigenvector, as large as laws allow."""
    plus, minus = form.direction.clamp(min=0), (-form.direction).clamp(min=0)
    mass = plus.sum((-2, -1), keepdim=True)
    largest = mass.max()
    plus, minus, mass = plus / largest, minus / largest, mass / largest
    base = (1 - mass) / (plus.shape[-2] * plus.shape[-1])
    one, other = plus + base, minus + base
    value = float(violation(game, step.h, one, other))
    return Violation(step.h, value, one, other) if value > ROUNDING * step.size else None
