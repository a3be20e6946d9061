"""How cumulative regret grows with the number of episodes T: bounds of the theory, and the exponent that runs show.

    Reg(T) >= T / 2 (1 - 1/|Z|)^T                                naive, on the needle; |Z| = T: about T / (2e)
    Reg(T) <= 2 H^{3/2} sqrt( K T log(c_Z |Z| sqrt T) / eta )    exploring with the theory's eps

The second has the constant of its argument: exploring costs at most H eps T, and after n episodes of exploration the
posterior is off the truth by |Z| sqrt(c_Z) (1 - eta)^n at most, in expectation, of which each episode loses up to H^2;
the sum H eps T + H^2 log(.) / (eps eta) is least at the theory's eps. With K actors the off-mass counts K times.

The exponent is the least-squares slope of the logarithm of the mean regret over runs in log T. Runs may have regret 0,
so that slopes of single runs need not exist; the interval is the jackknife's (Efron, 1982), which leaves out a run at a
time.

He, Chen, Zhang and Yang, "From words to actions", ICML 2024, arXiv 2405.19883.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gamesim.errors import refuse


def naive_bound(episodes: float, latents: int) -> float:
    """T / 2 (1 - 1/|Z|)^T: what is lost at least on the needle without exploration, for p = 1/2.

    >>> round(naive_bound(64, 64), 1), round(naive_bound(2048, 2048), 1)
    (11.7, 376.6)
    """
    return float(0.5 * episodes * (1 - 1 / latents) ** episodes)


def exploring_bound(
    episodes: float, latents: int, eta: float, horizon: int = 1, coverage: float = 1.0, actors: int = 1
) -> float:
    """2 H^{3/2} sqrt(K T log(c_Z |Z| sqrt T) / eta); infinite where nothing can be told apart, or no prior covers.

    >>> round(exploring_bound(2048, 2048, 0.478))
    443
    """
    if eta <= 0 or math.isinf(coverage):
        return math.inf
    size = math.log(coverage * latents * math.sqrt(episodes))
    return float(2 * horizon**1.5 * math.sqrt(actors * episodes * size / eta))


class Exponent(NamedTuple):
    """Reg ~ T^value, with a 95% interval over runs; without an end where there is a single run."""

    value: float
    interval: tuple[float, float]


def exponent(episodes: Sequence[float], regret: Tensor) -> Exponent:
    """The exponent of T in the mean over runs of regret[run, T], T = episodes[...].

    >>> found = exponent([64, 256, 1024], torch.tensor([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0], [0.0, 0.0, 0.0]]))
    >>> round(found.value, 6), [round(x, 6) for x in found.interval]
    (0.5, [0.5, 0.5])
    """
    if regret.dim() != 2 or regret.shape[1] != len(episodes):
        raise refuse("regret", f"shape {list(regret.shape)}", f"[run, {len(episodes)}], a column for each of episodes")
    if len(episodes) < 2 or min(episodes) <= 0 or len(set(episodes)) < len(episodes):
        raise refuse("episodes", list(episodes), "at least two different numbers above 0")
    runs = len(regret)
    total = regret.double().sum(0)
    if not bool((total > 0).all()):
        raise refuse("regret", f"means {[round(x / runs, 6) for x in total.tolist()]}", "means above 0: no power is 0")
    value = float(_slope(episodes, total))
    others = total - regret.double()
    if runs == 1 or not bool((others > 0).all()):
        return Exponent(value, (-math.inf, math.inf))
    from scipy.stats import t

    left = _slope(episodes, others)
    half = float(t.ppf(0.975, runs - 1)) * math.sqrt((runs - 1) / runs * float(((left - left.mean()) ** 2).sum()))
    return Exponent(value, (value - half, value + half))


def _slope(x: Sequence[float], y: Tensor) -> Tensor:
    """The slope of log y[..., x] in log x, [...]."""
    u = torch.tensor([math.log(v) for v in x], dtype=y.dtype, device=y.device)
    u = u - u.mean()
    slope: Tensor = (y.log() * u).sum(-1) / (u * u).sum()
    return slope
