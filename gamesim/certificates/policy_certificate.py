"""What a certificate of a policy says: players, states and actions are counted from 0."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Verdict = Literal["strict", "nash-not-sos", "not-nash", "not-certified"]


class Place(NamedTuple):
    """An action of a player in a state."""

    player: int
    state: int
    action: int


class Face(NamedTuple):
    """The best actions, two or more, of a player in a visited state, or all of them in one that is not visited."""

    player: int
    state: int
    actions: tuple[int, ...]


@dataclass(frozen=True)
class Direction:
    """z = (e_b - e_a) / sqrt 2 of one player in one state: along it nothing leads back."""

    player: int
    state: int
    kind: Literal["supported", "unused", "unvisited"]
    """Both actions are played; b is as good but is not played; or the state is not visited."""
    away: int
    """a."""
    toward: int
    """b."""
    steps: tuple[float, ...]
    """h."""
    products: tuple[float, ...]
    """<v(pi* + h z), h z>: 0, but for rounding and the errors of pi*."""
    own_block: float
    """The largest entry of the own blocks of J on the faces: 0."""
    eigenvalue: float
    """The largest of (J + J^T) / 2 on the faces: at least 0."""

    @property
    def ratios(self) -> tuple[float, ...]:
        """<v(pi* + h z), h z> / h^2, which a second-order stationary policy has at most -mu."""
        return tuple(p / (h * h) for p, h in zip(self.products, self.steps, strict=True))


@dataclass(frozen=True)
class Deviation:
    """What a player gains by another policy."""

    player: int
    state: int
    gain: float
    """Once play is in that state."""
    from_start: float
    """In an episode."""
    reply: tuple[tuple[float, ...], ...]
    """A best response, [s][a]."""

    def __str__(self) -> str:
        return (
            f"player {self.player} gains {self.gain:.6g} in state {self.state} by another policy, "
            f"{self.from_start:.6g} in an episode"
        )


@dataclass(frozen=True)
class PolicyCertificate:
    """What was found of one policy."""

    verdict: Verdict
    reason: str
    policy: tuple[tuple[tuple[float, ...], ...], ...]
    """pi_i*(a | s), [player][s][a]."""
    pure: tuple[tuple[int, ...], ...] | None
    """Its actions, [player][s], where it is pure."""
    tolerance: float
    unit: tuple[float, ...]
    """The span of what joint actions are worth to each player."""
    dropped: float
    """The largest probability that was taken as 0: at most the tolerance."""
    exploitability: float
    """What best responses gain from the initial law, summed over players."""
    worst_gain: float
    """The largest gain in a visited state."""
    perfect: bool | None
    """Whether nobody gains in any state, visited or not; None between the tolerance and 100 times that."""
    visits: tuple[float, ...]
    """d(s)."""
    unvisited: tuple[int, ...]
    margin: float | None = None
    """Of a pure equilibrium: by how much any other action is worse in a visited state, at least; None without one."""
    at: Place | None = None
    """The action that is the least worse."""
    weighted_margin: float | None = None
    """c, the least of d(s) times it: <v(pi*), pi - pi*> is at most -c times the total variation moved in all rows."""
    radius: float | None = None
    """The ball on which mu is proved: total variation summed over players, in the state where that is largest."""
    modulus: float | None = None
    """mu: <v(pi), pi - pi*> <= -mu ||pi - pi*||^2 in the ball; it grows as the ball shrinks."""
    faces: tuple[Face, ...] = ()
    direction: Direction | None = None
    deviation: Deviation | None = None

    @property
    def sos(self) -> bool | None:
        """Whether it is second-order stationary; None where that is not certified."""
        return None if self.verdict == "not-certified" else self.verdict == "strict"

    def plain(self) -> dict[str, Any]:
        """Plain data for JSON."""
        from dataclasses import asdict

        found = asdict(self) | {"sos": self.sos}
        found["at"] = None if self.at is None else self.at._asdict()
        found["faces"] = [face._asdict() for face in self.faces]
        if self.direction is not None:
            found["direction"]["ratios"] = self.direction.ratios
        return found
