"""From what is measured of policies to a verdict for each, with what shows it.

In this order: somebody gains in a visited state (not Nash); a face leaves a choice, or a state is not visited (Nash,
but not second-order stationary, with a direction that is tried); one action is better than all others (strict).
Whatever lies between the tolerance and 100 times it is not certified.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from gamesim.certificates.faces import on_face
from gamesim.certificates.moduli import Moduli, moduli
from gamesim.certificates.policy_certificate import Deviation, Direction, Face, Place, PolicyCertificate, Verdict
from gamesim.certificates.standing import Standing, slow
from gamesim.certificates.surplus import CLEAR
from gamesim.games import TabularGame

STEPS = (0.1, 0.01, 0.001)
"""How far along a direction it is tried, in shares of the probability that may move."""
Kind = Literal["supported", "unused", "unvisited"]
KINDS: tuple[Kind, ...] = ("supported", "unused", "unvisited")
"""What shows best that a policy is not strict comes first."""


class Judge:
    """A verdict for each element of a batch; what needs the game is worked out for all of them together."""

    def __init__(self, game: TabularGame, standing: Standing, tolerance: float) -> None:
        self.game, self.standing, self.tolerance = game, standing, tolerance
        self.batch = tuple(standing.visits.shape[:-1])
        self.at = standing.flat()
        at = self.at
        self.gains = torch.where(at.visited[:, None], at.gains, 0.0)
        self.start = (standing.gains * game.initial.unsqueeze(-2)).sum(-1).reshape(-1, len(at.policy))
        self.over = torch.where(at.visited[:, None], at.surplus, 0.0)
        self.faces = at.faces
        self.pure = torch.stack([(x == 1).any(-1).all(-1) for x in at.policy]).all(0)
        self.moduli: Moduli | None = moduli(game, standing) if bool(self.pure.any()) else None
        self.directions = self._directions()
        if self.moduli is not None:
            eps = self.moduli.largest / 2
            self.radius, self.modulus = eps.reshape(-1), self.moduli.modulus(eps).reshape(-1)
            self.gaps = [gap.reshape(x.shape) for gap, x in zip(self.moduli.gaps, at.policy, strict=True)]

    def certificates(self) -> list[PolicyCertificate]:
        return [self.certificate(k) for k in range(len(self.pure))]

    def certificate(self, k: int) -> PolicyCertificate:
        at, more = self.at, dict[str, Any]()
        perfect = self._perfect(k)
        worst = float(self.over[k].max())
        if worst > CLEAR:
            more["deviation"] = self._deviation(k, self.over[k])
            verdict, reason = "not-nash", str(more["deviation"])
        elif worst > 1:
            verdict = "not-certified"
            reason = f"somebody gains {float(self.gains[k].max()):.3g}, between the tolerance and {CLEAR:g} times it"
        elif k in self.directions:
            verdict, reason = self._not_sos(k, more)
        else:
            verdict, reason = self._strict(k, more)
        if worst <= 1 and perfect is False:
            found = self._deviation(k, torch.where(at.visited[k], 0.0, at.surplus[k]))
            reason += f"; Nash but not Markov perfect: player {found.player} would gain {found.gain:.6g} in state "
            reason += f"{found.state}, which is not visited"
        return PolicyCertificate(
            verdict, reason,  # type: ignore[arg-type]
            tuple(_rows(x[k]) for x in at.policy),
            tuple(tuple(x[k].argmax(-1).tolist()) for x in at.policy) if self.pure[k] else None,
            self.tolerance, tuple(at.unit[k].tolist()), float(at.dropped[k]),
            float(self.start[k].sum()), float(self.gains[k].max()), perfect, tuple(at.visits[k].tolist()),
            tuple((~at.visited[k]).nonzero()[:, 0].tolist()), **more,
        )  # fmt: skip

    def _perfect(self, k: int) -> bool | None:
        worst = float(self.at.surplus[k].max())
        return False if worst > CLEAR else True if worst <= 1 else None

    def _deviation(self, k: int, over: Tensor) -> Deviation:
        i, s = divmod(int(over.argmax()), over.shape[-1])
        gain, start = float(self.at.gains[k, i, s]), float(self.start[k, i])
        return Deviation(i, s, gain, start, _rows(self.at.replies[i][k]))

    def _directions(self) -> dict[int, Direction]:
        """The directions of all Nash equilibria that leave a choice, tried in one batch."""
        at, found = self.at, dict[int, tuple[int, int, Kind, int, int]]()
        for k in range(len(self.pure)):
            chosen = self._choice(k) if float(self.over[k].max()) <= 1 else None
            if chosen is not None:
                found[k] = chosen
        if not found:
            return {}
        ways, share = [torch.zeros_like(x) for x in at.policy], torch.ones_like(at.visits[:, 0])
        for k, (i, s, _, a, b) in found.items():
            ways[i][k, s, a], ways[i][k, s, b] = -math.sqrt(0.5), math.sqrt(0.5)
            share[k] = at.policy[i][k, s, a] * math.sqrt(2)
        h = share.new_tensor(STEPS)[:, None] * share
        centre, step = self.standing.policy, h.reshape(len(STEPS), *self.batch, 1, 1)
        moved = tuple(x + step * z.reshape(x.shape) for x, z in zip(centre, ways, strict=True))
        products = slow(self.game, centre, moved).reshape(h.shape)
        own, eigenvalue = (x.reshape(-1) for x in on_face(self.game, self.standing))
        return {
            k: Direction(
                *chosen, tuple(h[:, k].tolist()), tuple(products[:, k].tolist()), float(own[k]), float(eigenvalue[k])
            )
            for k, chosen in found.items()
        }

    def _choice(self, k: int) -> tuple[int, int, Kind, int, int] | None:
        """Player, state, kind, the likeliest best action and the next one; None where there is no choice."""
        found = list[tuple[int, int, Kind, int, int]]()
        for face in self._faces(k):
            i, s, actions = face
            chances = self.at.policy[i][k, s]
            a, b = sorted(actions, key=lambda action: -float(chances[action]))[:2]
            kind: Kind = "unvisited" if not self.at.visited[k, s] else "supported" if chances[b] > 0 else "unused"
            if chances[a] > 0:
                found.append((i, s, kind, a, b))
        return min(found, key=lambda each: KINDS.index(each[2]), default=None)

    def _faces(self, k: int) -> tuple[Face, ...]:
        return tuple(
            Face(i, s, tuple(face[k, s].nonzero()[:, 0].tolist()))
            for i, face in enumerate(self.faces)
            for s in face[k].any(-1).nonzero()[:, 0].tolist()
        )

    def _not_sos(self, k: int, more: dict[str, Any]) -> tuple[Verdict, str]:
        """What was tried along the direction is looked at: an error of the argument would show there."""
        found, at = self.directions[k], self.at
        if bool(at.vague[k].any()):
            player = int(at.vague[k].int().argmax())
            return (
                "not-certified",
                f"values of player {player} are so large that they leave no digits to tell actions apart",
            )
        for i, (loss, x) in enumerate(zip(at.losses, at.policy, strict=True)):
            played = torch.where((x[k] > 0) & at.visited[k, :, None], loss[k], 0.0)
            if float(played.max()) > at.small[k, i]:
                return "not-certified", self._worse(k, i, played)
        more |= {"direction": found, "faces": self._faces(k)} | (self._margins(k) if self.pure[k] else {})
        i, s, a, b = found.player, found.state, found.away, found.toward
        slack = CLEAR * float(self.at.small[k, i] * (1 + self.at.visits[k].sum()) ** 2)
        if not all(p >= -slack * h for p, h in zip(found.products, found.steps, strict=True)):
            return "not-certified", f"actions {a} and {b} of player {i} in state {s} are equal only at first sight"
        words = {
            "supported": f"player {i} mixes actions {a} and {b} in state {s}, which are equally good",
            "unused": f"player {i} does not play action {b} in state {s}, which is as good as {a}",
            "unvisited": f"state {s} is not visited, so that anything player {i} does there is as good",
        }[found.kind]
        return "nash-not-sos", f"{words}: <v(pi), pi - pi*> = 0 from {a} towards {b}"

    def _worse(self, k: int, i: int, losses: Tensor) -> str:
        s, a = divmod(int(losses.argmax()), losses.shape[-1])
        words = f"player {i} plays action {a} in state {s} with probability {float(self.at.policy[i][k, s, a]):.3g}"
        return f"{words}, which is worse by {float(losses[s, a]):.3g}: a policy near an equilibrium, not at one"

    def _margins(self, k: int) -> dict[str, Any]:
        visited, visits = self.at.visited[k], self.at.visits[k]
        margins = torch.stack([torch.where(visited, gap[k].amin(-1), math.inf) for gap in self.gaps])
        i, s = divmod(int(margins.argmin()), margins.shape[-1])
        if not math.isfinite(float(margins[i, s])):
            return {}
        weighted = torch.where(visited, margins * visits, math.inf)
        place = Place(i, s, int(self.gaps[i][k, s].argmin()))
        return {"margin": float(margins[i, s]), "at": place, "weighted_margin": float(weighted.min())}

    def _strict(self, k: int, more: dict[str, Any]) -> tuple[Verdict, str]:
        """Nobody gains and no face leaves a choice: strict, unless something is between."""
        at = self.at
        for i, (loss, x) in enumerate(zip(at.losses, at.policy, strict=True)):
            played = torch.where(x[k] > 0, loss[k], 0.0)
            if float(played.max()) > at.small[k, i] or not self.pure[k]:
                return "not-certified", self._worse(k, i, played)
            others = torch.where(x[k] > 0, math.inf, loss[k])
            if float(others.min()) <= CLEAR * at.small[k, i]:
                s, a = divmod(int(others.argmin()), others.shape[-1])
                words = f"action {a} of player {i} in state {s} is worse by {float(loss[k, s, a]):.3g}"
                return "not-certified", f"{words}, between the tolerance and {CLEAR:g} times it"
        if all(x.shape[-1] == 1 for x in at.policy):
            return "strict", "nobody has a choice"
        visits = at.visits[k]
        if float(visits.min()) <= self.tolerance * float(visits.sum()):
            s = int(visits.argmin())
            return "not-certified", f"state {s} is visited {float(visits[s]):.3g} times an episode: too little to tell"
        more |= self._margins(k)
        more |= {"radius": float(self.radius[k]), "modulus": float(self.modulus[k])}
        i, s, a = more["at"]
        words = f"all other actions are worse by {more['margin']:.6g} at least (action {a} of player {i} in state {s})"
        return "strict", f"{words}, and every state is visited"


def _rows(x: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(map(tuple, x.tolist()))
