"""Opponents: a matrix game played again and again, and the latent is who the other is.

Types z are Moore machines (`gamesim.envs.latent.automata`), law_z(b | q) what machine z plays in state q, trembling. An
episode is a match of H rounds in which the machine begins anew; a subgoal is the planner's action a, the report says
what both played, and pays u_1(a, b), brought to [0, 1] by the smallest and largest payoff of the table. Since q follows
from the reports, the expert of z is an exact best response, by dynamic programming over machine states:

    Q_z,h(q, a) = sum_b law_z(b | q) [ r(a, b) + V_z,h+1(q'(q, a, b)) ],    V_z,h = max_a Q_z,h

    eta = min_{z, z'} 1 - v_0(0, 0),    v_h(q, q') = sum_{a,b} pi_exp(a) sqrt(law_z(b | q) law_z'(b | q')) v_{h+1}(next)

Of the prisoner's dilemma with 5, 3, 1, 0, ten rounds and a tremble of .02, experts get 9.84 of ALLC, 2.16 of ALLD,
6.276 of TFT and of GRIM, 6.359 of WSLS and 6 of RAND, in fifths. Against ALLC the greedy planner never learns that
defecting goes unpunished: while it cooperates, ALLC, TFT, GRIM and WSLS look the same.

The types are of Axelrod, "The evolution of cooperation", 1984, and Nowak and Sigmund, Nature 364 (1993); the latent
world is of He et al., ICML 2024, arXiv 2405.19883.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, final

import torch
from torch import Tensor

from gamesim import catalog
from gamesim.envs.latent.automata import Automaton, automaton, usual
from gamesim.errors import refuse
from gamesim.games import DenseGame, NormalFormGame, tabulate
from gamesim.games.latent import Belief, Chance, Truth
from gamesim.games.latent_tables import ROUNDING, TabularWorld
from gamesim.parameters import Bounds, build, check
from gamesim.simplex import drawn

Rounds = Annotated[int, Bounds("a whole number from 1 to 10,000", 1, 10_000)]
USUAL_CHANCES = (0.1, 0.15, 0.3, 0.3, 0.1, 0.05)
"""Of ALLC, ALLD, TFT, GRIM, WSLS and RAND."""
MOST = 10**7
"""Numbers of a table, at most."""
TIES = 1e-12
"""Values this close are the same, and the expert takes the first: sums over rounds round."""


@final
@dataclass(frozen=True, kw_only=True)
class Opponents(TabularWorld):
    """A two-player matrix game against an opponent whose type is to be found out."""

    game: str | NormalFormGame = "matrix/prisoners-dilemma"
    """An id of `gamesim list games`, a file, or a two-player normal-form game itself; the planner sits first."""
    types: tuple[str | Automaton, ...] | None = None
    """Names such as ALLC, TFT, always rock, uniform, mirror, best-reply, or automata; none: the usual ones."""
    chances: tuple[Chance, ...] | None = None
    """P_Z, a number for each type; none: .1 .15 .3 .3 .1 .05 of the usual six, else all alike."""
    rounds: Rounds = 10
    """H: rounds of a match."""
    tremble: Chance = 0.02
    """How often the opponent's hand slips to another action than it meant."""
    truth: Truth = "prior"
    """Whom runs meet, by name or number; prior: each run draws its own."""

    def __post_init__(self) -> None:
        check(self)
        chances = self._chances
        if len(chances) != len(self.machines):
            raise refuse("chances", list(chances), f"{len(self.machines)} numbers, one for each type")
        if any(isinstance(p, Tensor) for p in chances) or abs(sum(chances) - 1) > 1e-6:
            raise refuse("chances", list(chances), "numbers that sum to 1")
        self.truth_law  # noqa: B018  refuses a latent that is not there

    # --- the game and the machines ---------------------------------------------------------------------------------

    @cached_property
    def stage(self) -> DenseGame:
        """The game of a round."""
        found: Any = self.game
        if isinstance(found, str):
            kind, own = catalog.named("games", found)
            if not (isinstance(kind, type) and issubclass(kind, NormalFormGame)):
                raise refuse("game", self.game, "a normal-form game: its id begins with matrix/")
            found = build(kind, own, what=found)
        if len(found.action_counts) != 2 or found.batch:
            batch = f", a batch {list(found.batch)}" if found.batch else ""
            raise refuse("game", f"{len(found.action_counts)} players{batch}", "one game of two players")
        dense: DenseGame = found if isinstance(found, DenseGame) else tabulate(found)
        for actions in dense.actions:
            if len(set(actions)) < len(actions):
                raise refuse("game", f"actions {list(actions)}", "names that differ: reports are of actions by name")
        low, high = float(dense.payoffs[0].min()), float(dense.payoffs[0].max())
        if not math.isfinite(high - low):
            raise refuse("game", f"payoffs from {low:g} to {high:g}", "payoffs that can be brought to [0, 1]")
        return dense

    @cached_property
    def machines(self) -> tuple[Automaton, ...]:
        """The types."""
        named = usual(self.stage) if self.types is None else self.types
        found = tuple(automaton(each, self.stage) if isinstance(each, str) else each for each in named)
        if not found:
            raise refuse("types", [], "at least one type")
        names, (rows, columns) = [each.name for each in found], self.stage.action_counts
        if len(set(names)) < len(names):
            raise refuse("types", names, "names that differ")
        for i, each in enumerate(found):
            if tuple(each.successor.shape[1:]) != (rows, columns):
                shown = f"a machine for {each.successor.shape[1]} x {each.successor.shape[2]} actions"
                raise refuse(f"types[{i}]", shown, f"one for {rows} x {columns}, as the game has")
        widest = max(each.output.shape[0] for each in found)
        numbers = len(found) * widest * rows * max(self.rounds, columns)
        if numbers > MOST:
            shown = f"{len(found)} types of up to {widest:,} states: {numbers:.1e} numbers"
            raise refuse("types", shown, f"at most {MOST:,}: fewer types, states or rounds")
        return found

    @cached_property
    def _chances(self) -> tuple[Any, ...]:
        if self.chances is not None:
            return self.chances
        count = len(self.machines)
        usual_six = self.types is None and count == len(USUAL_CHANCES) and self.stage.action_counts == (2, 2)
        return USUAL_CHANCES if usual_six else (1 / count,) * count

    @cached_property
    def law(self) -> Tensor:
        """What is played, tremble included, [z, q, b]; machines with fewer states are filled up."""
        states, found = max(each.output.shape[0] for each in self.machines), []
        for each in self.machines:
            own = each.trembling(float(self.tremble))
            found.append(own[torch.arange(states).clamp(max=len(own) - 1)])
        return torch.stack(found)

    @cached_property
    def successor(self) -> Tensor:
        """The next state of each machine, [z, q, a, b]."""
        states = self.law.shape[1]
        found = [x.successor[torch.arange(states).clamp(max=len(x.successor) - 1)] for x in self.machines]
        return torch.stack(found)

    @cached_property
    def scale(self) -> tuple[float, float]:
        """(low, span): payoff = low + span * reward."""
        first = self.stage.payoffs[0]
        low = float(first.min())
        return low, float(first.max()) - low or 1.0

    @cached_property
    def payment(self) -> Tensor:
        """r(a, b), in [0, 1]."""
        low, span = self.scale
        return ((self.stage.payoffs[0].double().cpu() - low) / span).clamp(0, 1)

    # --- a latent world --------------------------------------------------------------------------------------------

    @property
    def horizon(self) -> int:
        return self.rounds

    @cached_property
    def prior(self) -> Tensor:
        chances = torch.tensor(self._chances, **self.like)
        return chances / chances.sum()

    @cached_property
    def latents(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.machines)

    @property
    def tasks(self) -> tuple[str, ...]:
        return ("earn as much as you can",)

    @cached_property
    def subgoals(self) -> tuple[str, ...]:
        return self.stage.actions[0]

    @cached_property
    def observations(self) -> tuple[str, ...]:
        rows, columns = self.stage.actions
        return "the game begins", *(f"you played {a}, the other played {b}" for a in rows for b in columns)

    @property
    def about(self) -> str:
        rows, columns = self.stage.actions
        table = "; ".join(
            f"{a} against {b} pays {float(self.stage.payoffs[0, i, j]):g}"
            for i, a in enumerate(rows)
            for j, b in enumerate(columns)
        )
        slip = f" Their hand slips in {self.tremble:.3g} of all rounds." if self.tremble else ""
        return (
            f"You play a game of {self.rounds} rounds again and again against one opponent, who keeps to one way of "
            f"playing and begins each game anew. In each round both choose at the same time. Your payoff: {table}. "
            f"The opponent is one of: {', '.join(self.latents)}.{slip}"
        )

    def _outside(self, front: tuple[int, ...]) -> tuple[Tensor, ...]:
        return (torch.zeros(*front, len(self.machines), dtype=torch.long),)

    def open(self, latent: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        zero = torch.zeros_like(latent)
        return zero, zero

    def move(self, h: int, latent: Tensor, state: Tensor, subgoal: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        a = subgoal[..., 0]
        b = drawn(self.law[latent, state], u[..., 0])
        return self.successor[latent, state, a, b], 1 + a * self.law.shape[-1] + b

    def rewards(self, h: int, task: Tensor, observation: Tensor) -> Tensor:
        return self._paid[observation]

    @cached_property
    def _paid(self) -> Tensor:
        return torch.cat([torch.zeros(1, **self.like), self.payment.flatten()])

    def meet(self, belief: Belief, observation: Tensor) -> Belief:
        return Belief(belief.log, (torch.zeros_like(belief.log, dtype=torch.long),))

    def update(self, h: int, belief: Belief, subgoal: Tensor, observation: Tensor) -> Belief:
        (states,), joint = belief.inside, (observation - 1).unsqueeze(-1)
        place = self._first + states
        likelihood = self._log_law[place, joint % self.law.shape[-1]]
        return belief.weighed(likelihood, (self._next[place, joint],))

    @cached_property
    def _first(self) -> Tensor:
        """The place of each machine's first state, [z]."""
        return torch.arange(len(self.machines)) * self.law.shape[1]

    @cached_property
    def _log_law(self) -> Tensor:
        return self.law.flatten(0, 1).log()

    @cached_property
    def _next(self) -> Tensor:
        return self.successor.flatten(2).flatten(0, 1)

    # --- tables: a state is what the machine is in, and the last report: q (1 + J) + o ------------------------------

    def validate(self) -> None:
        """Nothing: everything was refused when it was made, and tables are written where they are asked for alone."""

    @cached_property
    def transition(self) -> Tensor:
        count, states, rows, columns = self.successor.shape
        reports = 1 + rows * columns
        many = states * reports
        if count * many * many * rows > MOST:
            shown = f"{count * many * many * rows:.1e} numbers"
            raise refuse(
                "types", shown, f"at most {MOST:,}, where a planner wants tables: fewer types, states or actions"
            )
        found = torch.zeros(count, states, reports, rows, many, **self.like)
        report = 1 + torch.arange(rows)[:, None] * columns + torch.arange(columns)
        to = (self.successor * reports + report)[:, :, None].expand(-1, -1, reports, -1, -1)
        found.scatter_add_(-1, to, self.law[:, :, None, None].expand(to.shape))
        return found.flatten(1, 2)

    @cached_property
    def emission(self) -> Tensor:
        states, reports = self.law.shape[1], len(self.observations)
        return torch.eye(reports, **self.like).repeat(states, 1).expand(len(self.machines), -1, -1)

    @cached_property
    def initial(self) -> Tensor:
        found = torch.zeros(len(self.machines), self.law.shape[1] * len(self.observations), **self.like)
        found[:, 0] = 1.0
        return found

    @property
    def reward(self) -> Tensor:
        return self._paid[None]

    # --- experts ---------------------------------------------------------------------------------------------------

    @cached_property
    def action_values(self) -> Tensor:
        """Q_{z,h}(q, a), [h, z, q, a]."""
        z = torch.arange(len(self.machines))[:, None, None, None]
        after, found = torch.zeros(self.law.shape[:2], **self.like), []
        for _ in range(self.rounds):
            now = (self.law.unsqueeze(-2) * (self.payment + after[z, self.successor])).sum(-1)
            found.append(now)
            after = now.amax(-1)
        return torch.stack(found[::-1])

    @cached_property
    def replies(self) -> Tensor:
        """The expert's action in each state, of ties the first, [h, z, q]."""
        best: Tensor = self.action_values.amax(-1, keepdim=True)
        return (self.action_values >= best - TIES * self.rounds).to(torch.uint8).argmax(-1)

    @cached_property
    def _gaps(self) -> Tensor:
        """V - Q, [h, z, q, a]."""
        gaps: Tensor = self.action_values.amax(-1, keepdim=True) - self.action_values
        return torch.where(gaps <= TIES * self.rounds, 0.0, gaps)

    def experts(self, h: int, task: Tensor, belief: Belief) -> Tensor:
        return self.replies[h].flatten()[self._first + belief.inside[0]].unsqueeze(-1)

    def losses(self, h: int, task: Tensor, latent: Tensor, belief: Belief, subgoal: Tensor) -> Tensor:
        state = belief.inside[0].gather(-1, latent.unsqueeze(-1)).squeeze(-1)
        return self._gaps[h, latent, state, subgoal[..., 0]]

    @cached_property
    def value(self) -> Tensor:
        return self.action_values[0, :, 0].amax(-1)

    def _require_pairs(self) -> None:
        numbers = self.law[..., 0].numel() ** 2
        if numbers > MOST:
            raise refuse("types", f"{numbers:.1e} pairs of states of two machines", f"at most {MOST:,}, to compare all")

    @cached_property
    def _crossed(self) -> Tensor:
        """What the expert of z' gets of machine z, [z, z']: both machines run along."""
        self._require_pairs()
        law, z, x = self.law, torch.arange(len(self.machines))[:, None, None, None], torch.arange(len(self.machines))
        count, states = law.shape[:2]
        value = torch.zeros(count, states, count, states, **self.like)
        for h in reversed(range(self.rounds)):
            a = self.replies[h]  # [z', q']
            paid = (law[:, :, None, None] * self.payment[a]).sum(-1)  # [z, q, z', q']
            after = torch.zeros_like(value)
            for b in range(law.shape[-1]):
                mine = self.successor[z, torch.arange(states)[:, None, None], a, b]  # [z, q, z', q']
                theirs = self.successor[x[:, None], torch.arange(states), a, b]  # [z', q']
                after = after + law[:, :, b, None, None] * value[z, mine, x[:, None], theirs]
            value = paid + after
        return value[:, 0, :, 0]

    def cross(self) -> Tensor:
        """J_z(pi*_z'), what the expert of z' gets where z is the truth, [z, z']."""
        return self._crossed

    def distinguishability(self) -> float:
        self._require_pairs()
        law, count, states = self.law, len(self.machines), self.law.shape[1]
        explore = self.explore(0, torch.zeros(()))[0]
        z, x = torch.arange(count)[:, None, None, None], torch.arange(count)[:, None]
        q, r = torch.arange(states)[:, None, None], torch.arange(states)
        same = torch.ones(count, states, count, states, **self.like)
        for _ in range(self.rounds):
            found = torch.zeros_like(same)
            for a in range(len(explore)):
                for b in range(law.shape[-1]):
                    chance = (law[:, :, b, None, None] * law[:, :, b]).sqrt()
                    found += explore[a] * chance * same[z, self.successor[z, q, a, b], x, self.successor[x, r, a, b]]
            same = found
        apart = 1 - same[:, 0, :, 0]
        apart.fill_diagonal_(torch.inf)
        least = float(apart.min())
        return least if least > ROUNDING else 0.0
