"""How agents respond to the aggregate they feel: laws of the next state and of the reward, fitted at a given z.

    mixture       P(t | s, a, z) = (1 - |z|) M_0(t) + sum_s' z(s') M_s'(t), every M a law: one meets someone or nobody
    linear        P(t | s, a, z) = theta_0(t) + sum_s' theta_s'(t) z(s')
    polynomial    the same in all products of at most `degree` of the z(s')
    kernel        the same in Gaussian bumps of z around landmarks: kernel ridge regression, compressed (Nystrom)
    a game        its own equations, its parameters free: `graphon/sis`

The kernels are delta functions on states and actions times one on z, so each (s, a) has a regression of its own, of the
one-hot next state and of the reward on features phi(z), over the places k = (h, n) where it was played:

    min_theta  1/2 sum_k w_k sum_{moves} |one-hot(t) - phi(z_k) theta|^2  +  penalty |theta|^2 / 2

It needs only the counts, and its solution is closed. The weights w = 1 / (1 - sum_t P(t)^2), from the fit before, make
it efficient: for two states it then is the likelihood to second order. Rewards are regressed in the same way.

Zhang, Tan, Wang and Yang, arXiv 2310.17531, section 4 (kernel mean embedding of state, action and population).
"""

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, einsum

from gamesim import catalog
from gamesim.errors import refuse
from gamesim.estimation.counts import Counts
from gamesim.estimation.numbers import Numbers
from gamesim.estimation.ridge import Moments, RidgeFit, solve_ridge, validation_error
from gamesim.games import GraphonGame
from gamesim.graphons import ErdosRenyi
from gamesim.parameters import Count, NonNegative, Positive, check
from gamesim.simplex import project

FLOOR = 1e-7
"""Of the variance of the rewards: noise below it counts as none."""
SHARPEST = 1e-3
"""The smallest 1 - sum P^2 that weighs an observation."""
FAINT = 1e-8
"""The penalty while the graphon is sought, where it is to be chosen by cross-validation afterwards."""
PENALTIES = torch.logspace(-8, 0, 17, dtype=torch.float64)
"""What cross-validation tries."""
LEAST = 1e-9
"""Probability of what a response thinks impossible."""
TINY = 1e-9
"""Relative ridge that keeps a system solvable where features coincide."""


class Places(NamedTuple):
    """Counts with h and n as one dimension k, and the aggregate there: moves[..., k, s, a, t], z[..., k, s]."""

    moves: Tensor
    visits: Tensor
    earned: Tensor
    squared: Tensor
    z: Tensor

    @classmethod
    def of(cls, counts: Counts, z: Tensor) -> "Places":
        moves, earned, squared = (
            part.flatten(part.dim() - rank, part.dim() - rank + 1)
            for part, rank in zip(counts.parts, (5, 4, 4), strict=True)
        )
        return cls(moves, moves.sum(-1), earned, squared, z.flatten(-3, -2))

    @property
    def rewards_tell(self) -> bool:
        """Whether rewards vary where the state and the action do not."""
        visits, earned, squared = (x.sum(-3) for x in (self.visits, self.earned, self.squared))
        within = (squared - earned.square() / visits.clamp(min=1)).sum()
        return bool(within > FLOOR * (squared.sum() - earned.sum().square() / visits.sum()))


class Response(ABC):
    """A fitted law; leading dimensions are a batch of fits."""

    @abstractmethod
    def transition(self, h: int, z: Tensor) -> Tensor:
        """P[..., k, s, a, t] for z[..., k, s], before any repair."""

    @abstractmethod
    def reward(self, h: int, z: Tensor) -> Tensor:
        """r[..., k, s, a]."""

    @abstractmethod
    def __getitem__(self, index: int) -> "Response":
        """One of a batch."""

    @abstractmethod
    def on(self, like: dict[str, Any]) -> "Response":
        """The same with tensors of another dtype, on another device."""

    @property
    def numbers(self) -> dict[str, Tensor]:
        """Its parameters by name, where it has names for them."""
        return {}


class Law(ABC):
    """What is assumed of the response; `fit` finds it at a given aggregate."""

    kinds: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls, kind: str | None = None) -> None:
        if kind:
            Law.kinds[kind] = cls

    @classmethod
    def adopt(cls, value: Any, field: str) -> "Law | None":
        """A game, its class or its id (`graphon/sis`) stands for its own equations."""
        if isinstance(value, str) and ("/" in value or ":" in value):
            value = catalog.find("games", value)
        if isinstance(value, type) and issubclass(value, GraphonGame):
            value = value()
        return Mechanism(value) if isinstance(value, GraphonGame) else None

    size: int = 0
    """Free numbers that are sought together with the graphon's."""

    @property
    def centre(self) -> Tensor:
        """Where their prior sits, [p]."""
        return torch.zeros(self.size, dtype=torch.float64)

    def numbers_of(self, free: Tensor) -> dict[str, Tensor]:
        """The same numbers within their bounds, by name."""
        return {}

    @abstractmethod
    def fit(self, places: Places, weights: Tensor, free: Tensor, before: "Response | None" = None) -> Response:
        """The response that fits best where the aggregate is places.z, with weights[..., k, s, a]."""


def misfit(response: Response, places: Places, weights: Tensor) -> Tensor:
    """Minus the log-likelihood of the data under a response, up to a constant, [...]: moves and rewards.

    Rewards that a state and an action decide alone say nothing of the graphon, and are left out of a regression's.
    """
    P = response.transition(0, places.z)
    moved = places.visits - 2 * (places.moves * P).sum(-1) + places.visits * P.square().sum(-1)
    found = 0.5 * (weights * moved).sum((-3, -2, -1))
    if isinstance(response, Regressed) and not places.rewards_tell:
        return found
    r = response.reward(0, places.z)
    paid = (places.squared - 2 * r * places.earned + places.visits * r.square()).sum((-3, -2, -1))
    total = places.visits.sum((-3, -2, -1))
    spread = places.squared.sum((-3, -2, -1)) - places.earned.sum((-3, -2, -1)).square() / total
    noise = paid.clamp(min=0) / total + FLOOR * (spread / total).clamp(min=1e-300)
    return found + 0.5 * total * noise.log()


def log_likelihood(response: Response, places: Places) -> Tensor:
    """log P(moves, rewards) under a response, up to a constant, [...]: fits of any weights are compared by it."""
    P = project(response.transition(0, places.z)).clamp(min=LEAST)
    found = (places.moves * P.log()).sum((-4, -3, -2, -1))
    nothing = torch.zeros_like(places.visits)
    return found - misfit(response, places, nothing)


def efficient_weights(response: Response | None, places: Places) -> Tensor:
    """1 / (1 - sum_t P(t)^2) at each place, [..., k, s, a]; of the pooled frequencies before there is a response."""
    if response is None:
        moves = places.moves.sum(-4, keepdim=True)
        P = (moves / moves.sum(-1, keepdim=True).clamp(min=1)).expand_as(places.moves)
    else:
        P = project(response.transition(0, places.z))
    return 1 / (1 - P.square().sum(-1)).clamp(min=SHARPEST)


@dataclass(frozen=True)
class Features:
    """phi(z)[..., k, d]: barycentric coordinates of z, monomials, or bumps around landmarks."""

    degree: int = 1
    barycentric: bool = False
    landmarks: Tensor | None = None
    width: float = 1.0

    def __call__(self, z: Tensor) -> Tensor:
        if self.barycentric:
            return torch.cat([1 - z.sum(-1, keepdim=True), z], -1)
        padded = torch.cat([torch.ones_like(z[..., :1]), z], -1)
        if self.landmarks is not None:
            distance = (z.unsqueeze(-2) - self.landmarks).square().sum(-1)
            return torch.cat([padded[..., :1], torch.exp(-distance / (2 * self.width**2))], -1)
        products = list(combinations_with_replacement(range(padded.shape[-1]), self.degree))
        return padded[..., torch.tensor(products, device=z.device)].prod(-1)


@dataclass(frozen=True)
class Regressed(Response):
    """P = phi(z) theta and r = phi(z) rho."""

    features: Features
    theta: Tensor
    """[..., s, a, d, t]."""
    rho: Tensor
    """[..., s, a, d]."""
    condition: Tensor
    """Condition number of each regression, [..., s, a]: infinite where nothing was seen."""
    dual: Tensor | None = None
    """Where the search for laws ended, for the next one to begin at."""

    def transition(self, h: int, z: Tensor) -> Tensor:
        return einsum("...kd,...sadt->...ksat", self.features(z), self.theta)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return einsum("...kd,...sad->...ksa", self.features(z), self.rho)

    def __getitem__(self, index: int) -> "Regressed":
        dual = None if self.dual is None else self.dual[index]
        return Regressed(self.features, self.theta[index], self.rho[index], self.condition[index], dual)

    def on(self, like: dict[str, Any]) -> "Regressed":
        places = self.features.landmarks
        features = dataclasses.replace(self.features, landmarks=None if places is None else places.to(**like))
        return Regressed(features, self.theta.to(**like), self.rho.to(**like), self.condition)


def move_moments(places: Places, phi: Tensor, weights: Tensor) -> Moments:
    """Of the one-hot next states, a system for each (s, a): gram[..., s, a, d, d]."""
    pairs = places.visits.shape[-2:]
    seen = (weights * places.visits).flatten(-2)  # [..., k, sa]
    moment = phi.mT @ (weights[..., None] * places.moves).flatten(-3)  # [..., d, sat]
    moment = moment.unflatten(-1, places.moves.shape[-3:]).movedim(-4, -2)
    energy = (weights[..., None] * places.moves).sum(-4)
    return Moments(_gram(seen, phi).unflatten(-3, pairs), moment, energy, seen.sum(-2).unflatten(-1, pairs))


def pay_moments(places: Places, phi: Tensor) -> Moments:
    """Of the rewards, in the same way, with one target."""
    pairs = places.visits.shape[-2:]
    seen = places.visits.flatten(-2)
    moment = (phi.mT @ places.earned.flatten(-2)).unflatten(-1, pairs).movedim(-3, -1)
    gram = _gram(seen, phi).unflatten(-3, pairs)
    return Moments(gram, moment[..., None], places.squared.sum(-3)[..., None], seen.sum(-2).unflatten(-1, pairs))


def _gram(seen: Tensor, phi: Tensor) -> Tensor:
    """sum_k seen(k, sa) phi(k) phi(k)', [..., sa, d, d]."""
    squares = (phi[..., :, None] * phi[..., None, :]).flatten(-2)  # [..., k, dd]
    gram: Tensor = seen.mT @ squares
    unfolded: Tensor = gram.unflatten(-1, phi.shape[-1:] * 2)
    return unfolded


def solve_laws(
    gram: Tensor, moment: Tensor, start: tuple[Tensor, Tensor], tolerance: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """min theta' G theta / 2 - <b, theta> with every row theta[..., d, :] a law: alternating directions (ADMM).

    From and to the laws and their dual variable, so that the next, similar problem begins where this one ended. Boyd,
    Parikh, Chu, Peleato and Eckstein, Foundations and Trends in Machine Learning 3 (2011), section 5.2.
    """
    value, vector = torch.linalg.eigh(gram)
    high = value[..., -1:].clamp(min=1e-12)
    rho = (value.clamp(min=0)[..., :1] * high).sqrt().clamp(min=1e-3 * high)  # the best for a quadratic programme
    solver = vector @ (vector.mT / (value + rho)[..., None])
    rho = rho[..., None]
    law, dual = start
    for i in range(1000):
        theta = 1.6 * (solver @ (moment + rho * (law - dual))) - 0.6 * law
        before, law = law, project(theta + dual)
        dual = dual + theta - law
        if i % 10 == 9 and max(float((law - before).abs().max()), float((theta - law).abs().max())) < tolerance:
            break
    return law, dual


def lawful(moments: Moments, theta: Tensor, before: "Regressed | None") -> tuple[Tensor, Tensor]:
    """The regressions with every row a law; only outcomes that were seen somewhere after (s, a) are sought."""
    seen = moments.energy.reshape(-1, *moments.energy.shape[-3:]).sum(0)  # [s, a, t]
    most = int((seen > 0).sum(-1).max().clamp(min=1))
    which = seen.topk(most, -1).indices[..., None, :]  # [s, a, 1, most]

    def among(x: Tensor) -> Tensor:
        return x.gather(-1, which.expand(*x.shape[:-1], most))

    per_move = moments.weight.clamp(min=1e-12)[..., None, None]
    start = project(among(theta)), torch.zeros_like(among(theta))
    if before is not None and before.dual is not None and before.dual.shape == start[1].shape:
        start = among(before.theta), before.dual
    found, dual = solve_laws(moments.gram / per_move, among(moments.moment) / per_move, start)
    return torch.zeros_like(theta).scatter(-1, which.expand(*theta.shape[:-1], most), found), dual


def ridge(moments: Moments, penalty: float, features: Features) -> RidgeFit:
    """A ridge of `penalty` beside the mean square, and never less than what keeps collinear features apart."""
    size = moments.gram.diagonal(dim1=-2, dim2=-1).mean(-1)
    intercept = not features.barycentric  # coordinates sum to one, but none of them is one
    return solve_ridge(moments, penalty * moments.weight + TINY * size, intercept=intercept)


def regress(
    features: Features, places: Places, weights: Tensor, penalty: float | None, before: Response | None, laws: bool
) -> Regressed:
    """Both regressions, for every (s, a) at once; a pair that was never seen goes anywhere alike and earns nothing."""
    phi, penalty = features(places.z), FAINT if penalty is None else penalty
    moves = move_moments(places, phi, weights)
    fitted, paid = (ridge(part, penalty, features) for part in (moves, pay_moments(places, phi)))
    theta, dual = fitted.coefficients, None
    if laws:
        theta, dual = lawful(moves, theta, before if isinstance(before, Regressed) else None)
    anywhere = torch.zeros_like(theta)
    anywhere[..., slice(None) if laws else 0, :] = 1 / theta.shape[-1]
    unseen = (places.visits.sum(-3) == 0)[..., None, None]
    return Regressed(features, torch.where(unseen, anywhere, theta), paid.coefficients[..., 0], fitted.condition, dual)


def cross_validated(law: "Ridged", folds: Places, weights: Tensor, response: "Regressed") -> float:
    """The penalty of least error on episodes left out; the folds are the leading dimension of their places."""
    phi = response.features(folds.z)
    error: Any = 0.0
    for part in (move_moments(folds, phi, weights), pay_moments(folds, phi)):
        tried = PENALTIES.to(phi) + TINY
        found = validation_error(part, tried[:, None, None] * part.pooled().weight)
        least = found.sum((-2, -1)).amin().clamp(min=FLOOR * part.energy.sum())  # rewards may leave no error at all
        error = error + found.sum((-2, -1)) / least
    return float(PENALTIES[int(error.argmin())])


@dataclass(frozen=True)
class Mixture(Law, kind="mixture"):
    """One meets a neighbour, whose state decides, or nobody: linear in z, and a law for every z."""

    def __str__(self) -> str:
        return "mixture"

    def fit(self, places: Places, weights: Tensor, free: Tensor, before: Response | None = None) -> Response:
        return regress(Features(barycentric=True), places, weights, 0.0, before, laws=True)


class Ridged(Law):
    """Least squares with a penalty on all but the intercept."""

    penalty: float | None
    """Weight of |theta|^2 beside the mean squared error; None: by cross-validation over episodes."""

    @abstractmethod
    def features(self, places: Places) -> Features:
        """phi, at the places where it is first asked for; it stays as it is afterwards."""

    def fit(self, places: Places, weights: Tensor, free: Tensor, before: Response | None = None) -> Response:
        features = before.features if isinstance(before, Regressed) else self.features(places)
        return regress(features, places, weights, self.penalty, before, laws=False)


@dataclass(frozen=True)
class Linear(Ridged, kind="linear"):
    """Linear in z, by ridge regression."""

    penalty: NonNegative | None = None  # type: ignore[assignment]
    """Weight of |theta|^2 beside the mean squared error; left out, by cross-validation over episodes."""

    def __post_init__(self) -> None:
        check(self)

    def __str__(self) -> str:
        return "linear" if self.penalty is None else f"linear({self.penalty:g})"

    def features(self, places: Places) -> Features:
        return Features()


@dataclass(frozen=True)
class Polynomial(Ridged, kind="polynomial"):
    """All products of at most `degree` of the z, by ridge regression."""

    degree: Count = 2
    """Largest number of factors."""
    penalty: NonNegative | None = None  # type: ignore[assignment]
    """Weight of |theta|^2 beside the mean squared error; left out, by cross-validation over episodes."""

    def __post_init__(self) -> None:
        check(self)

    def __str__(self) -> str:
        return f"polynomial({self.degree})" if self.penalty is None else f"polynomial({self.degree}, {self.penalty:g})"

    def features(self, places: Places) -> Features:
        return Features(self.degree)


@dataclass(frozen=True)
class Kernel(Ridged, kind="kernel"):
    """Kernel ridge regression with a Gaussian kernel on z, compressed to landmarks."""

    bandwidth: Positive = 0.3
    """Width of the kernel, in units of the aggregate."""
    penalty: NonNegative | None = None  # type: ignore[assignment]
    """Weight of |theta|^2 beside the mean squared error; left out, by cross-validation over episodes."""
    landmarks: Count = 30
    """Centres of the kernel, spread over the aggregates that were felt."""

    def __post_init__(self) -> None:
        check(self)

    def __str__(self) -> str:
        return (
            f"kernel({self.bandwidth:g})" if self.penalty is None else f"kernel({self.bandwidth:g}, {self.penalty:g})"
        )

    def features(self, places: Places) -> Features:
        z = places.z.detach().flatten(0, -2)
        some = torch.linspace(0, len(z) - 1, min(self.landmarks, len(z)), device=z.device).long()
        return Features(landmarks=z[z.sum(-1).argsort()][some], width=float(self.bandwidth))


@dataclass(frozen=True)
class Mechanism(Law, kind="mechanism"):
    """The equations of a game that is known but for its numbers."""

    game: GraphonGame

    def __post_init__(self) -> None:
        if not isinstance(self.game, GraphonGame):
            raise refuse("law", self.game, "a graphon game by its id, such as graphon/sis")
        last = self.game.horizon - 1
        z = torch.full((1, self.game.shape[-2]), 0.3, **self.game.like)
        for name in ("reward", "kernel"):
            if not torch.equal(getattr(self.game, name)(0, z), getattr(self.game, name)(last, z)):
                raise refuse("law", str(self), f"a game whose {name} is the same at every step")

    def __str__(self) -> str:
        return type(self.game).__name__

    @cached_property
    def numbers(self) -> Numbers:
        """Its own numbers, not those of every graphon game."""
        return Numbers.of(self.game, frozenset(f.name for f in dataclasses.fields(GraphonGame)))

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.numbers)

    @property
    def centre(self) -> Tensor:
        return self.numbers.centre

    def numbers_of(self, free: Tensor) -> dict[str, Tensor]:
        return self.numbers.bound(free)

    def fit(self, places: Places, weights: Tensor, free: Tensor, before: Response | None = None) -> Response:
        return Played(self.game, self.numbers.bound(free))


@dataclass(frozen=True)
class Played(Response):
    """The equations of a game with these numbers."""

    of: GraphonGame
    found: dict[str, Tensor]
    """Each [...]."""

    @property
    def numbers(self) -> dict[str, Tensor]:
        return self.found

    @cached_property
    def game(self) -> GraphonGame:
        """Its graphon plays no part: only what happens at a given aggregate is asked."""
        bare = {"graphon": ErdosRenyi(1.0), "positions": 1, "horizon": 1, "graph": None, "blocks": None}
        return dataclasses.replace(self.of, **bare, **self.found)  # type: ignore[arg-type]

    def transition(self, h: int, z: Tensor) -> Tensor:
        return self.game.kernel(0, z)

    def reward(self, h: int, z: Tensor) -> Tensor:
        return self.game.reward(0, z).expand(*z.shape[:-1], *self.game.shape[-2:])

    def __getitem__(self, index: int) -> "Played":
        return Played(self.of, {name: value[index] for name, value in self.found.items()})

    def on(self, like: dict[str, Any]) -> "Played":
        dtype: Literal["float32", "float64"] = "float32" if like["dtype"] == torch.float32 else "float64"
        of = dataclasses.replace(self.of, dtype=dtype, device=like["device"])
        return Played(of, {name: value.to(**like) for name, value in self.found.items()})
