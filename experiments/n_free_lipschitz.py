"""n-free-lipschitz: how far a network of attention moves with its weights does not grow with the set, if it averages.

Zhang, Liu, Wang, Tan, Yang and Wang, "Relational reasoning via set transformers: provable efficiency and applications
to MARL", NeurIPS 2022, arXiv 2209.09845: the generalisation error of set transformers with softmax, rows in the unit
ball and mean pooling does not depend on the number N of agents. What carries the covering argument is one layer,

    max_i || [SM(X W X^T) X V - SM(X W' X^T) X V']_i ||  <=  ||V - V'|| + ||V|| ||W - W'||

Here: the gain |dg| / ||d(W, V)|| of a whole network, exactly (nuclear norms of gradients), at the worst of random and
of adversarial sets of 3 to 1,000 rows, for

    softmax, mean     sigmoid with the shift -log N, mean     softmax, sum     sigmoid without a shift, mean

with rows projected on the ball after attention and after the feed-forward part, as in the paper, and without.
That a sum or an unshifted sigmoid grows is ours to show, not the paper's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gamesim.attention.gains import Attend, Pool, bound, draw_stack, gain, into_ball, layer_ratio
from gamesim.charts import Chart, Curve, Panel
from gamesim.experiments.over_seeds import band, mean_interval, slope
from gamesim.randomness import Stream
from gamesim.study import Claim, Scale, Study, at_least, at_most

SIZES = (3, 10, 30, 100, 300, 1000)
EFFORT: Mapping[Scale, tuple[int, int, int]] = {"quick": (6, 6, 2), "full": (16, 8, 12)}
"""Networks, sets for each, and steps of ascent."""
WIDTH, HIDDEN, LAYERS, NORM = 16, 32, 2, 2.0
KINDS_OF_ROW = 4
"""Rows of a set are noisy copies of so many, in random shares: sets whose means do not vanish as N grows."""
FLAT = 0.1
"""A slope in N that counts as none."""
STEEP = 0.5
"""A slope that counts as growth."""


@dataclass(frozen=True)
class Variant:
    id: str
    attend: Attend
    pool: Pool
    grows: bool


VARIANTS = (
    Variant("softmax-mean", "softmax", "mean", False),
    Variant("sigmoid-log-n-mean", "sigmoid", "mean", False),
    Variant("softmax-sum", "softmax", "sum", True),
    Variant("sigmoid-plain-mean", "sigmoid-plain", "mean", True),
)


@dataclass(frozen=True)
class Setting:
    id: str
    title: str
    layers: int
    rows_in_ball: bool


SETTINGS = (
    Setting("class", "two layers, rows in the ball", 2, True),
    Setting("layer", "one layer, no projection", 1, False),
    Setting("free", "two layers, no projection", 2, False),
)


@dataclass(frozen=True)
class NFreeLipschitz:
    """Gains against N for four ways to attend and pool, and the inequality of one layer under attack."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        seeds, draws, climbs = EFFORT[scale]
        claims, rows, panels = list[Claim](), list[dict[str, object]](), list[Panel]()
        for setting in SETTINGS:
            curves = list[Curve]()
            for variant in VARIANTS:
                found, limit = measure(variant, setting, seeds, draws, climbs)
                value, interval = slope(list(SIZES), found)
                claims.append(judged(variant, setting, value, interval))
                if setting.rows_in_ball and not variant.grows:
                    words = f"{setting.title}, {variant.id}: the worst gain over the bound that has no N"
                    claims.append(at_most(f"{variant.id}-bound", words, float((found / limit[:, None]).max()), 1.0))
                begin, end = found[:, 0].mean(), found[:, -1].mean()
                say(f"  {setting.title}, {variant.id}: slope {value:.2f}, from {begin:.2f} to {end:.2f}")
                curves.append(band(variant.id, list(SIZES), found, dots=True))
                rows += [
                    {"setting": setting.id, "variant": variant.id, "seed": s, "n": n, "gain": float(found[s, k]),
                     "bound": float(limit[s])}
                    for s in range(seeds) for k, n in enumerate(SIZES)
                ]  # fmt: skip
            panels.append(Panel(setting.title, "rows of a set", "worst |dg| / ||d(W, V)||", curves, log_x=True))
        claims += inequality(seeds, 2000 if scale == "quick" else 20_000, 300 if scale == "quick" else 1000)
        notes = (
            f"{seeds} networks of width {WIDTH}, all spectral norms {NORM:g}; for each N the worst of {draws} sets, "
            f"and of {climbs} steps of gradient ascent on the gain from there. Bounds are for the mean with rows in "
            "the ball (for sigmoids with the shift). Two expectations are kept as claims though they turn out false. "
            "Sigmoids without a shift do not grow where rows are projected after attention: what they add up to is "
            "cut before it reaches the mean (and with it the lengths that would tell sets apart). With the shift "
            "-log N two layers without projection do grow once sets are chosen against them: a weight is at most "
            "e^s / N, but scores s of the second layer are as large as the rows that the first one makes, so that e^s "
            "is beyond any N in sight. For the same reason the gain of one layer climbs until N is about e^s, and "
            "stays there: over 3 to 1,000 rows its slope is near 0.1. The shift and the norm of rows belong together."
        )
        return Study(claims, [Chart("gains", panels)], rows, notes)


def judged(variant: Variant, setting: Setting, value: float, interval: tuple[float, float]) -> Claim:
    words = f"{setting.title}, {variant.id}: slope of the worst gain in N"
    if variant.grows:
        name = f"{setting.id}-{variant.id}-grows"
        return at_least(name, f"{words} at least {STEEP:g}", value, STEEP, interval)
    return at_most(f"{setting.id}-{variant.id}-flat", f"{words} at most {FLAT:g}", value, FLAT, interval)


def sets(seeds: int, draws: int, n: int) -> Tensor:
    """Rows in the unit ball, [draw, seed, n, d]: noisy copies of a few rows of the seed, in random shares."""
    common = Stream(list(range(seeds)), 0).normal((seeds, KINDS_OF_ROW, WIDTH), torch.float32)
    stream = Stream(list(range(seeds)), n)
    share = -stream.uniform((seeds, draws, KINDS_OF_ROW)).log()
    edges = (share / share.sum(-1, keepdim=True)).cumsum(-1)
    kind = (stream.uniform((seeds, draws, n, 1)) > edges[..., None, :-1]).sum(-1)
    picked = common[torch.arange(seeds)[:, None, None], kind]
    noisy = picked + 0.3 * stream.normal((seeds, draws, n, WIDTH), torch.float32)
    length: Tensor = torch.linalg.vector_norm(noisy, dim=-1, keepdim=True)
    return (noisy / length).transpose(0, 1)


def measure(variant: Variant, setting: Setting, seeds: int, draws: int, climbs: int) -> tuple[Tensor, Tensor]:
    """The worst gain, [seed, size], and the bound, [seed]."""
    stack = draw_stack(
        (seeds,), Stream(list(range(seeds))), layers=setting.layers, width=WIDTH, hidden=HIDDEN, norm=NORM,
        dtype=torch.float32,
    )  # fmt: skip

    def gains(x: Tensor) -> Tensor:
        return gain(stack, x, attend=variant.attend, pool=variant.pool, rows_in_ball=setting.rows_in_ball)

    columns = list[Tensor]()
    for n in SIZES:
        every = sets(seeds, draws, n)
        worst, at = torch.stack([gains(x) for x in every]).max(0)
        columns.append(climbed(gains, every[at, torch.arange(seeds)], worst, climbs))
    return torch.stack(columns, -1).double(), bound(stack, "softmax" if variant.attend == "softmax" else "sigmoid")


def climbed(gains: Callable[[Tensor], Tensor], x: Tensor, worst: Tensor, steps: int) -> Tensor:
    """The largest gain met on the way up from x, each row moved by 0.2 along its gradient and put back in the ball."""
    for _ in range(steps):
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            here = gains(leaf)
            (up,) = torch.autograd.grad(here.sum(), leaf)
        worst = torch.maximum(worst, here.detach())
        x = into_ball(x + 0.2 * up / up.norm(dim=-1, keepdim=True).clamp(min=1e-30))
    return torch.maximum(worst, gains(x)) if steps else worst


def inequality(seeds: int, draws: int, steps: int) -> list[Claim]:
    """The inequality of one layer: the worst of random draws, and of climbing on the ratio of its sides."""
    generator = Stream(list(range(seeds)), 99)
    largest = list[Tensor]()
    for n in (2, 3, 10, 30):
        largest.append(_ratios(*_drawn(generator, seeds, draws // n, n)).amax(-1))
    random = torch.stack(largest).amax(0)
    climbed_to = torch.stack([_climb(_drawn(generator, seeds, 8, n), steps).amax(-1) for n in (2, 5)]).amax(0)
    value, interval = mean_interval(climbed_to)
    return [
        at_most("layer-random", "one layer: left over right side of the inequality, the worst of random draws",
                float(random.max()), 1.0),
        at_most("layer-adversarial", "one layer: the same, after gradient ascent on it (1 + 1e-9 for rounding)",
                float(climbed_to.max()), 1 + 1e-9),
        at_least("layer-tight", "one layer: ascent comes within 1% of the bound, which no smaller one could be",
                 value, 0.99, interval),
    ]  # fmt: skip


def _drawn(generator: Stream, seeds: int, draws: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
    """x[seed, draw, n, d], matrices W, V, W', V' [4, seed, draw, d, d] of many lengths, how near the pairs are."""
    d = 4
    x = generator.normal((seeds, draws, n, d))
    lengths = (4 * generator.normal((seeds, draws, 4, 1, 1))).exp().clamp(max=30)
    matrices = generator.normal((seeds, draws, 4, d, d)) * lengths
    near = generator.uniform((seeds, draws, 1, 1))
    return x, matrices.movedim(2, 0), near


def _ratios(x: Tensor, m: Tensor, near: Tensor) -> Tensor:
    rows = x / x.norm(dim=-1, keepdim=True)
    two = (m[0] + near * (m[2] - m[0]), m[1] + near * (m[3] - m[1]))
    return layer_ratio(rows, (m[0], m[1]), two)


def _climb(drawn: tuple[Tensor, Tensor, Tensor], steps: int) -> Tensor:
    """The largest ratio met, [seed, start]: ascent with steps of the length of each matrix."""
    x, m, near = drawn
    m = m / torch.linalg.matrix_norm(m)[..., None, None]
    near = near * 0.1
    best = _ratios(x, m, near)
    for step in range(steps):
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_(), m.detach().requires_grad_()]
            up = torch.autograd.grad(_ratios(leaves[0], leaves[1], near).sum(), leaves)
        size = 0.1 * 0.98 ** (step * 300 / steps)
        x = x + size * up[0] / torch.linalg.matrix_norm(up[0])[..., None, None].clamp(min=1e-30)
        m = m + size * up[1] / torch.linalg.matrix_norm(up[1])[..., None, None].clamp(min=1e-30)
        best = torch.maximum(best, _ratios(x, m, near))
    return best
