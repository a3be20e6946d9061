"""One call that says what is known of a game: `certify(game)`."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gamesim.certificates.contraction import Contraction, contraction
from gamesim.certificates.interaction import transitions_depend
from gamesim.certificates.monotonicity import Monotonicity, monotonicity
from gamesim.certificates.proposals import Proposal, Tuning, propose
from gamesim.errors import refuse
from gamesim.games import GraphonGame
from gamesim.games.game import require_batch
from gamesim.parameters import Count, Natural, NonNegative, convert, plain
from gamesim.randomness import Stream

LARGEST = 3_000_000
"""Entries of a policy, and of rewards of one step at all corners, at most."""
SHOWN = 6
"""Eigenvalues written out."""
TRIED = "compared at random aggregates, at every step"
Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class Certificate:
    """What is known of a game, how, and which step sizes follow."""

    game: str
    temperature: float
    monotone: Monotonicity
    transitions_depend_on_population: bool
    contraction: Contraction
    proposal: Proposal

    @property
    def reason(self) -> str:
        """What the theory of policy mirror descent says of this game."""
        if self.transitions_depend_on_population:
            return "transitions depend on the population: the theory of policy mirror descent does not cover the game"
        return {
            "holds": "weakly monotone, and transitions do not depend on the population: as policy mirror descent asks",
            "fails": "not weakly monotone: the theory does not cover the game; solvers may converge all the same",
            "undecided": "whether the game is weakly monotone, as the theory asks, is not known",
        }[self.monotone.verdict]

    def rows(self) -> list[Row]:
        """(property, verdict, number, words), for a table."""
        m, c, p = self.monotone, self.contraction, self.proposal
        number = m.violation if m.violation is not None else m.worst
        local = "" if c.local is None else f"{c.local:.3g}"
        found: list[Row] = [
            ("weakly monotone", m.verdict, "" if number is None else f"{number:.3g}", m.reason),
            ("P independent of z", "fails" if self.transitions_depend_on_population else "holds", "", TRIED),
            ("contraction", c.verdict, local or f"{c.pairs:.3g}", c.reason),
        ]
        for name, tuning in (("policy-mirror-descent", p.policy_mirror_descent), ("gmfg-ppo", p.gmfg_ppo)):
            if tuning is not None:
                found.append((name, *_tuning_words(tuning)))
        if p.online_mirror_descent is not None:
            found.append(("online-mirror-descent", "proposed", "", f"step_size={p.online_mirror_descent}"))
        return [*found, ("step sizes", "", "", p.reason), ("theory", "", "", self.reason)]

    def to_json(self) -> dict[str, Any]:
        """Plain data for JSON, without the witness and the equilibrium's scores."""
        m, c, p = self.monotone, self.contraction, self.proposal
        tunings = {
            name: None if t is None else {k: v for k, v in vars(t).items() if v is not None or k == "iterations"}
            for name, t in (("policy-mirror-descent", p.policy_mirror_descent), ("gmfg-ppo", p.gmfg_ppo))
        }
        found: dict[str, Any] = plain(
            {
                "game": self.game,
                "temperature": self.temperature,
                "reason": self.reason,
                "monotone": {
                    "verdict": m.verdict,
                    "reason": m.reason,
                    "kind": m.kind,
                    "eigenvalues": m.eigenvalues,
                    "worst": m.worst,
                    "violation": m.violation,
                },
                "transitions_depend_on_population": self.transitions_depend_on_population,
                "contraction": {
                    "verdict": c.verdict,
                    "reason": c.reason,
                    "local": c.local,
                    "pairs": c.pairs,
                    "distance": c.distance,
                    "eigenvalues": c.eigenvalues[:SHOWN],
                },
                "proposal": {
                    "reason": p.reason,
                    **tunings,
                    "online-mirror-descent": p.online_mirror_descent and {"step_size": p.online_mirror_descent},
                },
            }
        )
        return found


def certify(
    game: GraphonGame,
    *,
    temperature: float = 0.1,
    pairs: int = 4096,
    flows: int = 64,
    iterations: int = 500,
    seed: int = 0,
) -> Certificate:
    """What is known of a graphon game: monotonicity, contraction at a temperature, and step sizes.

    pairs:      random pairs of populations where monotonicity has to be searched.
    flows:      random pairs of flows for the contraction constant.
    iterations: of a trial of the proposed steps; 0 proposes them untried.
    """
    lam = _checked(game, temperature)
    pairs, flows = convert(pairs, Count, "pairs"), convert(flows, Count, "flows")
    iterations, seed = convert(iterations, Natural, "iterations"), convert(seed, Natural, "seed")
    stream = Stream(seed)
    found = contraction(game, lam, flows, stream.at(2))
    return Certificate(
        type(game).__name__,
        lam,
        monotonicity(game, pairs, stream.at(0)),
        transitions_depend(game, stream.at(1)),
        found,
        propose(game, found, iterations),
    )


def _checked(game: GraphonGame, temperature: Any) -> float:
    """Refuse what cannot be certified; the temperature as a number."""
    if not isinstance(game, GraphonGame):
        what = game.__name__ if isinstance(game, type) else type(game).__name__
        raise refuse(
            "game",
            what,
            "an instance of a GraphonGame; of a normal-form game certify_equilibrium asks whether learners stay, "
            "of a stochastic game certify_policy what kind of equilibrium a policy is",
        )
    if isinstance(temperature, Tensor) and temperature.dim():
        raise refuse(
            "temperature", f"shape {tuple(temperature.shape)}", "one number: certify one temperature at a time"
        )
    lam = float(convert(convert(temperature, float, "temperature"), NonNegative, "temperature"))
    if game.dtype != "float64":
        raise refuse("dtype", game.dtype, "float64: eigenvalues and differences need its digits")
    if len(game.shape) > 3:
        raise refuse("game", f"a batch of games of shape {list(game.shape[:-3])}", "one game: certify them one by one")
    k, s, a = game.shape
    if max(game.horizon * k * s * a, k * s * s * a) > LARGEST:
        raise refuse("positions", k, f"fewer, so that policies and rewards have at most {LARGEST:,} entries")
    game.validate()
    require_batch(game)
    return lam


def _tuning_words(tuning: Tuning) -> tuple[str, str, str]:
    steps = f"step_size={tuning.step_size:.3g}"
    if tuning.averaging is not None:
        steps += f" averaging={tuning.averaging:.3g}"
    tried = "not reached in the trial" if tuning.iterations is None else f"reached in {tuning.iterations} iterations"
    return "proposed", "" if tuning.rate is None else f"{tuning.rate:.3g}", f"{steps}; {tried}"
