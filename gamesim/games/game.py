"""What a model-free solver needs of a game, by protocol: a user's class imports nothing of gamesim."""

from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from gamesim.errors import InvalidInput, refuse

Policy = tuple[Tensor, ...]
"""One tensor per player or population, [..., action]; rows sum to one; leading dimensions are a batch."""


@runtime_checkable
class Game(Protocol):
    """Anything with these three methods is a game."""

    def start(self) -> Policy:
        """A policy to begin from: uniform unless there is a reason."""
        ...

    def feedback(self, policy: Policy) -> Policy:
        """The value of each action under the policy, shaped like the policy."""
        ...

    def exploitability(self, policy: Policy) -> Tensor:
        """What the best deviation gains: at least 0, and 0 exactly at equilibrium; shape = batch."""
        ...


@runtime_checkable
class RegularizedGame(Game, Protocol):
    """A game that also knows its entropy-regularised values: its methods take a `temperature`."""

    def feedback(self, policy: Policy, temperature: Any = 0.0) -> Policy: ...

    def exploitability(self, policy: Policy, temperature: Any = 0.0) -> Tensor: ...

    def metrics(self, policy: Policy, temperature: Any = 0.0) -> dict[str, Tensor]:
        """Everything worth tracing about a policy, by name; `exploitability` is always among them."""
        ...


@runtime_checkable
class OccupancyGame(Game, Protocol):
    """A game whose play can be averaged: by how often each action is played, and best replies to that."""

    def occupancy(self, policy: Policy, frozen: Policy | None = None) -> Policy: ...

    def reply(self, occupancy: Policy, temperature: Any = 0.0) -> Policy: ...


def require_game(game: object) -> None:
    """Refuse what is not a game, naming the missing methods."""
    missing = [name for name in ("start", "feedback", "exploitability") if not callable(getattr(game, name, None))]
    if missing:
        raise refuse(
            "game",
            type(game).__name__,
            f"an object with start(), feedback(policy) and exploitability(policy); {missing[0]} is missing",
        )


def require_policy(policy: object, like: Policy | None = None, field: str = "policy") -> None:
    """Refuse what is not a policy: rows must be finite, never negative and sum to one (within 1e-6)."""
    if not isinstance(policy, tuple) or not policy or not all(isinstance(p, Tensor) for p in policy):
        raise refuse(field, type(policy).__name__, "a tuple of tensors, one per player or population")
    if like is not None and len(policy) != len(like):
        raise refuse(field, f"{len(policy)} tensors", f"{len(like)}, one per player or population")
    for i, p in enumerate(policy):
        name = f"{field}[{i}]"
        if like is not None and p.shape[-like[i].dim() :] != like[i].shape:
            raise refuse(name, f"shape {tuple(p.shape)}", f"[..., {', '.join(map(str, like[i].shape))}]")
        require_rows(p, name)


def require_iterate(game: object, point: Any, like: Policy | None = None, field: str = "policy") -> None:
    """Refuse what the family's solvers cannot stand at: policies, unless the game says by `require` what it takes."""
    own = getattr(game, "require", None)
    if callable(own):
        own(point, field)
    else:
        require_policy(point, like, field)


def require_rows(p: Tensor, name: str, tolerance: float = 1e-6) -> None:
    """Refuse p[..., a] unless every row is a probability vector; the message has the first bad index."""
    if not p.is_floating_point():
        raise refuse(name, f"dtype {p.dtype}", "a floating-point tensor")
    for bad, wanted in ((~p.isfinite(), "finite probabilities"), (p < 0, "probabilities of at least 0")):
        if bool(bad.any()):
            index = tuple(bad.nonzero()[0].tolist())
            raise refuse(f"{name}{list(index) or ''}", f"{float(p[index]):.6g}", wanted)
    total = p.sum(-1)
    bad = (total - 1).abs() > tolerance
    if bool(bad.any()):
        index = tuple(bad.nonzero()[0].tolist())
        raise refuse(
            f"{name}{list(index) or ''}", f"a row that sums to {float(total[index]):.6g}", "rows that sum to one"
        )


def probe(like: Policy) -> Policy:
    """A policy of the same shape without any symmetry, the same every time: what a game is tried out on."""

    def rows(p: Tensor) -> Tensor:
        place = torch.arange(p.numel(), dtype=p.dtype, device=p.device).reshape(p.shape)
        return torch.softmax(torch.sin(1 + place), -1)

    return tuple(map(rows, like))


def exploitability(game: Game, policy: Policy, **parameters: Any) -> Tensor:
    """How far a policy is from equilibrium: the game's own measure, after the policy is checked."""
    require_game(game)
    require_policy(policy, game.start())
    return game.exploitability(policy, **parameters)


def measure(game: Any, policy: Policy, **parameters: Any) -> dict[str, Tensor]:
    """The metrics of a policy: those the family names, or exploitability alone; the first is what tolerances mean."""
    if isinstance(game, RegularizedGame):
        found = game.metrics(policy, **parameters)
    elif not isinstance(game, Game):
        # a family that measures something else, as the residual of an inequality, and says what it takes for that
        found = game.metrics(
            policy, **{name: x for name, x in parameters.items() if name in getattr(game, "takes", ())}
        )
    else:
        found = {"exploitability": game.exploitability(policy)}
    for name, value in found.items():
        if not isinstance(value, Tensor):
            found[name] = torch.as_tensor(value, dtype=torch.float64)
    return found


def values_of(game: Any, policy: Policy, temperature: Any = 0.0) -> Policy:
    """The game's feedback; a game of three methods is asked as it is, with entropy left to the solver's own step."""
    found = game.feedback(policy, temperature) if isinstance(game, RegularizedGame) else game.feedback(policy)
    if not isinstance(found, tuple) or len(found) != len(policy):
        raise InvalidInput(
            f"feedback: {type(game).__name__} returned {type(found).__name__}, expected a tuple like the policy"
        )
    for i, (p, q) in enumerate(zip(policy, found, strict=True)):
        if q.shape != p.shape:
            raise refuse(f"feedback[{i}]", f"shape {tuple(q.shape)}", f"the shape of the policy, {tuple(p.shape)}")
    return found


def require_batch(game: Any) -> None:
    """Refuse a game that cannot be played by a batch: two policies stacked must give their two answers, stacked."""

    def answers(policy: Policy) -> dict[str, Tensor]:
        priced = values_of(game, policy) if callable(getattr(game, "feedback", None)) else ()
        found = {f"feedback[{i}]": q for i, q in enumerate(priced)}
        measured = measure(game, policy)
        first = "exploitability" if "exploitability" in measured else next(iter(measured))
        return {**found, first: measured[first]}

    def wrong(what: str) -> InvalidInput:
        name = type(game).__name__
        return InvalidInput(
            f"game: {name} {what}, but seeds and tensors of hyper-parameters stack policies in front: "
            f"write {name} with '...' in front of every shape, or run it without them"
        )

    start = game.start()
    points = callable(getattr(game, "require", None))
    other = tuple(x + 0.1 * p for x, p in zip(start, probe(start), strict=True)) if points else probe(start)
    alone = answers(start), answers(other)
    try:
        both = answers(tuple(torch.stack(pair) for pair in zip(start, other, strict=True)))
    except Exception as error:  # whatever a user's code raises on a shape that it did not expect
        reason = str(error).partition("\n")[0]
        raise wrong(f"fails on a batch of policies ({type(error).__name__}: {reason})") from error
    for name, found in both.items():
        one = torch.stack([each[name] for each in alone])
        if found.shape != one.shape:
            raise wrong(f"answers a batch with {name} of shape {list(found.shape)} instead of {list(one.shape)}")
        if not torch.allclose(found, one, rtol=1e-3, atol=1e-5, equal_nan=True):
            raise wrong(f"answers a batch with another {name} than one by one")
