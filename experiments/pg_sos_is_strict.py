"""pg-sos-is-strict: tries to refute that a policy is second-order stationary exactly if it is strict.

Giannou, Lotidis, Mertikopoulos and Vlatakis-Gkaragkounis, "On the convergence of policy gradient methods to Nash
equilibria in general stochastic games", NeurIPS 2022 (arXiv 2210.08857) call a policy pi* second-order stationary if
<v(pi), pi - pi*> <= -mu ||pi - pi*||^2 for pi near pi*, and show that strict ones are. With the probabilities of a
table as parameters there are no others: `gamesim.certificates.second_order` shows that a Nash equilibrium which is not
strict, or does not visit every state, has a direction along which the left side is 0.

Here a search that knows nothing of that proof (`gamesim.certificates.departures`) looks for the largest
q(r) = <v(pi), pi - pi*> / ||pi - pi*||^2 at distances r from equilibria of random and of constructed games: a strict
policy at which q is not below the modulus that was proved, or another equilibrium at which q stays below -O(r), would
refute it. Shares have the 99% interval of Clopper and Pearson.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.certificates.departures import depart
from gamesim.certificates.moduli import moduli
from gamesim.certificates.policy_certificate import PolicyCertificate
from gamesim.certificates.probabilities import Probability
from gamesim.certificates.second_order import certify_policies
from gamesim.certificates.standing import stand
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.stochastic.constructed import Constructed
from gamesim.envs.stochastic.families import RandomStochastic
from gamesim.equilibria.stationary import find_stationary, pure_stationary
from gamesim.games import Policy, StochasticGame, TabularGame
from gamesim.randomness import Stream
from gamesim.study import Claim, Scale, Study, at_least, at_most, fit_slope

KINDS = ("strict", "interior", "partial", "duplicate", "unvisited")
SHAPES = {"quick": ((2, 2, (2, 2)),), "full": ((2, 2, (2, 2)), (3, 2, (3, 3)), (4, 2, (2, 3)), (2, 3, (2, 2, 2)))}
"""States, players, actions."""
INSIDE = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Distances from a strict policy, in units of the ball on which its modulus is proved."""
RADII = (0.1, 0.03, 0.01, 0.003, 0.001)
"""Distances from any other equilibrium."""
TOLERANCE = 1e-9
EXACT = 1e-9
"""What the derivative's own blocks on the face may be, relative to the derivative's unit."""
BARELY = 1e-4
"""The margin of strict policies that nearly are not."""
SHARE = {"quick": 0.1, "full": 0.01}
"""A share of contradictions that is excluded when there are none."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Equilibria of one kind, each of a game of its own."""

    name: str
    game: TabularGame
    policy: Policy
    """[game, s, a]."""


@dataclass(frozen=True, eq=False)
class Searched:
    """What the search found around the policies of a batch."""

    batch: Batch
    certificates: list[PolicyCertificate]
    distance: Tensor
    """r[radius, game]."""
    ratio: Tensor
    """The largest q, [radius, game]."""
    modulus: Tensor
    """mu of the ball of that radius, [radius, game]; NaN at policies that are not strict."""


@dataclass(frozen=True)
class PgSosIsStrict:
    """Strict, interior, partly mixed, duplicated and not visited: thousands of equilibria, each attacked."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        found = list[Searched]()
        for batch in batches(scale):
            one = attacked(batch, scale, seed=len(found))
            found.append(one)
            verdicts = Counter(each.verdict for each in one.certificates)
            say(f"  {batch.name}: {dict(verdicts)}; largest ratio {float(one.ratio[-1].max()):.3g} at the least radius")
        claims = [*strict_claims(found, scale), *other_claims(found, scale), *derivative_claims(found)]
        claims.append(contradictions(found, scale))
        rows = [row for one in found for row in rows_of(one)]
        named = Counter(each.verdict for one in found for each in one.certificates)
        notes = (
            f"{sum(named.values())} equilibria: {dict(named)}. Around each the search tries all vertices of all rows "
            f"and {count_of(scale)} random directions at {len(RADII)} distances, and varies the best of them "
            f"{rounds_of(scale)} times. Not certified are policies with a gap or a gain between the tolerance and 100 "
            "times it. That second-order stationary policies are strict is a finding about tables with the "
            "probabilities as parameters; the paper's rate for second-order stationary policies is then a statement "
            "on strict ones, which the lazy method reaches in finitely many steps."
        )
        return Study(claims, [Chart("departures", panels(found))], rows, notes)


def batches(scale: Scale) -> list[Batch]:
    """Equilibria built into games, and those that random games have."""
    games, found = 30 if scale == "quick" else 150, list[Batch]()
    for states, players, actions in SHAPES[scale]:
        shape: dict[str, Any] = {"state_count": states, "player_count": players, "action_count": actions}
        for kind in KINDS:
            game = Constructed(built=kind, games=games, **shape)  # type: ignore[arg-type]
            found.append(Batch(f"{kind}, {words(states, actions)}", game, game.equilibrium))
        barely = Constructed(built="strict", margin=BARELY, games=games, **shape)
        found.append(Batch(f"strict, by {BARELY:g}, {words(states, actions)}", barely, barely.equilibrium))
        found.append(random_pure(games, shape, words(states, actions)))
    mixed = random_mixed(6 if scale == "quick" else 60)
    return [*found, *([mixed] if mixed is not None else [])]


def words(states: int, actions: tuple[int, ...]) -> str:
    return f"{states} states, {'x'.join(map(str, actions))} actions"


def random_pure(count: int, shape: dict[str, Any], name: str) -> Batch:
    """Pure equilibria of random games, at most two of each, until there are as many as asked for."""
    pairs, seed = list[tuple[TabularGame, Policy]](), 0
    while len(pairs) < count:
        game = RandomStochastic(seed=seed, discount=0.8, **shape)
        pure = pure_stationary(game, 2)
        pairs += [(game, tuple(x[k] for x in pure.policies)) for k in range(len(pure))]
        seed += 1
    return stacked(f"random games, pure, {name}", pairs[:count])


def random_mixed(count: int) -> Batch | None:
    """Equilibria that a solver found in random games without a pure one, and those that are mixed in others."""
    pairs, seed = list[tuple[TabularGame, Policy]](), 0
    while len(pairs) < count and seed < 40 * count:
        game = RandomStochastic(seed=seed, state_count=2, action_count=2, discount=0.6)
        seed += 1
        if len(pure_stationary(game, 1)) == 0:
            found = find_stationary(game, tolerance=1e-11, method="path")
            if found.converged:
                pairs.append((game, found.policy))
    return stacked("random games, mixed, 2 states, 2x2 actions", pairs) if pairs else None


def stacked(name: str, pairs: list[tuple[TabularGame, Policy]]) -> Batch:
    games = [game for game, _ in pairs]
    tables = torch.stack([game.reward for game in games]), torch.stack([game.transition for game in games])  # type: ignore[misc]
    game = StochasticGame(*tables, discount=games[0].discount, player_count=len(games[0].action_counts))
    return Batch(name, game, tuple(torch.stack(parts) for parts in zip(*(policy for _, policy in pairs), strict=True)))


def count_of(scale: Scale) -> int:
    return 100 if scale == "quick" else 1000


def rounds_of(scale: Scale) -> int:
    return 2 if scale == "quick" else 4


def attacked(batch: Batch, scale: Scale, seed: int) -> Searched:
    """Certify, then search at radii that suit: within the proved ball of strict policies, at fixed ones of others."""
    game, policy = batch.game, batch.policy
    certificates = certify_policies(game, policy, tolerance=TOLERANCE)
    strict = torch.tensor([each.verdict == "strict" for each in certificates])
    like = policy[0]
    radii = like.new_tensor(RADII)[:, None].expand(-1, len(strict)).clone()
    mu = torch.full_like(radii, math.nan)
    if bool(strict.any()):
        measured = moduli(game, stand(game, policy, TOLERANCE))
        eps = like.new_tensor(INSIDE)[:, None] * measured.largest / 2
        share = math.sqrt(len(policy))  # total variation summed over players is at most this times the distance
        radii = torch.where(strict, eps / share, radii)
        mu = torch.where(strict, torch.stack([measured.modulus(each) for each in eps]), mu)
    found = depart(game, policy, radii, Stream(seed), count=count_of(scale), rounds=rounds_of(scale))
    return Searched(batch, certificates, found.distance, found.ratio, mu)


def kept(found: list[Searched], verdict: str) -> tuple[Tensor, Tensor, Tensor]:
    """r, q and mu [radius, policy] of all policies with a verdict."""
    parts = list[tuple[Tensor, Tensor, Tensor]]()
    for one in found:
        which = torch.tensor([each.verdict == verdict for each in one.certificates])
        parts.append((one.distance[:, which], one.ratio[:, which], one.modulus[:, which]))
    r, q, mu = (torch.cat(each, -1) for each in zip(*parts, strict=True))
    return r, q, mu


def refuted(found: list[Searched]) -> tuple[Tensor, Tensor]:
    """Which strict policies have q > -mu at some radius, and which others have q < -r at some radius."""
    _, q, mu = kept(found, "strict")
    r, p, _ = kept(found, "nash-not-sos")
    return (q > -mu).any(0), (p < -r).any(0)


def strict_claims(found: list[Searched], scale: Scale) -> list[Claim]:
    r, q, mu = kept(found, "strict")
    bad, n = refuted(found)[0], q.shape[-1]
    share = Probability(int(bad.sum()), n)
    text = f"{n} strict policies: the search finds no ratio above -mu at any of {len(INSIDE)} radii in the proved ball"
    claims = [at_most("strict-below-modulus", text, share.value, SHARE[scale], share.interval)]
    text = "the largest ratio over the proved -mu is at least 1 at every strict policy and radius (least)"
    claims.append(at_least("strict-modulus-holds", text, float((q / -mu).min()), 1.0))
    fits = [fit_slope(r[:, k].tolist(), (-q[:, k]).tolist()) for k in range(n)] if bool((q < 0).all()) else []
    slopes = torch.tensor([fit.value for fit in fits] or [math.nan])
    text = "at strict policies -q grows like 1/r as r falls, so that any modulus holds near enough (largest slope)"
    low, high = float(slopes.min()), float(slopes.max())
    return [*claims, at_most("strict-any-modulus", text, high, -0.9, (low, high))]


def other_claims(found: list[Searched], scale: Scale) -> list[Claim]:
    r, q, _ = kept(found, "nash-not-sos")
    bad, n = refuted(found)[1], q.shape[-1]
    share = Probability(int(bad.sum()), n)
    text = f"{n} other Nash equilibria: at every radius the search finds a ratio of at least -r"
    claims = [at_most("others-escape", text, share.value, SHARE[scale], share.interval)]
    text = "other Nash equilibria: the least of the largest ratios, at radii from 0.1 to 0.001, is not below -1e-6"
    claims.append(at_least("others-not-negative", text, float(q.min()), -1e-6))
    slopes = (q * r).sum(0) / (r * r).sum(0)  # of a line through the origin
    text = "fitted to q = C r, the least C of any other Nash equilibrium is above -0.001"
    claims.append(at_least("others-slope", text, float(slopes.min()), -1e-3))
    along = [each.direction for one in found for each in one.certificates if each.direction is not None]
    least = min((min(each.ratios) for each in along), default=math.nan)
    text = "along the direction that a certificate names the ratio is at least -1e-6 at every step (least)"
    return [*claims, at_least("certified-direction", text, least, -1e-6)]


def derivative_claims(found: list[Searched]) -> list[Claim]:
    along = [each.direction for one in found for each in one.certificates if each.direction is not None]
    own = max((each.own_block for each in along), default=math.nan)
    least = min((each.eigenvalue for each in along), default=math.nan)
    return [
        at_most("own-blocks", "own blocks of the derivative of v on the face vanish (largest entry)", own, EXACT),
        at_least("face-eigenvalue", "on the face (J + J^T) / 2 has an eigenvalue of at least 0 (least)", least, -EXACT),
    ]


def contradictions(found: list[Searched], scale: Scale) -> Claim:
    """A policy contradicts if the search says otherwise than the certificate, or if its kind is not what was built."""
    strict, others = refuted(found)
    wrong, n = int(strict.sum() + others.sum()), len(strict) + len(others)
    for one in found:
        kind = one.batch.name.partition(",")[0]
        if kind in KINDS:
            expected = "strict" if kind == "strict" else "nash-not-sos"
            wrong += sum(each.verdict != expected for each in one.certificates)
        wrong += sum(each.verdict == "not-nash" for each in one.certificates if kind not in KINDS)
    share = Probability(wrong, max(n, 1))
    text = f"of {n} equilibria no one contradicts that second-order stationary means strict and every state visited"
    return at_most("no-contradiction", text, share.value, SHARE[scale], share.interval)


def rows_of(one: Searched) -> list[dict[str, object]]:
    return [
        {
            "batch": one.batch.name,
            "game": k,
            "verdict": each.verdict,
            "margin": each.margin if each.margin is not None else math.nan,
            "radius": float(one.distance[j, k]),
            "ratio": float(one.ratio[j, k]),
            "modulus": float(one.modulus[j, k]),
            "own_block": each.direction.own_block if each.direction is not None else math.nan,
            "eigenvalue": each.direction.eigenvalue if each.direction is not None else math.nan,
        }
        for k, each in enumerate(one.certificates)
        for j in range(len(one.distance))
    ]


def panels(found: list[Searched]) -> list[Panel]:
    """Of each kind the policy that comes nearest to its modulus, or that has the least ratio."""
    kinds = dict[str, list[Searched]]()
    for one in found:
        kinds.setdefault(one.batch.name.rsplit(", ", 2)[0], []).append(one)
    strict, others = list[Curve](), list[Curve]()
    for name, ones in kinds.items():
        _, q, mu = kept(ones, "strict")
        if q.shape[-1] > 0:
            k = int((q / -mu).amin(0).argmin())
            strict.append(Curve(name, INSIDE, (-q[:, k]).tolist(), dots=True))
            strict.append(Curve(f"{name}: proved", INSIDE, mu[:, k].tolist(), dashed=True))
        _, q, _ = kept(ones, "nash-not-sos")
        if q.shape[-1] > 0:
            others.append(Curve(name, RADII, q[:, int(q.amin(0).argmin())].tolist(), dots=True))
    return [
        Panel(
            "Strict: any modulus", "r, in units of the proved ball", "-q(r), nearest to its modulus", strict, log_x=True
        ),
        Panel("Not strict, or not visited", "r", "largest q(r), least policy", others, log_x=True, log_y=False),
    ]
