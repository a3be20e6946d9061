"""bail-transformer: a small transformer pretrained on labelled play is the Bayes planner; on demonstrations it is not.

Pretrained on prompts of behaviour that does not depend on the latent z, with an expert's subgoal as the answer, a model
of sequences that fits perfectly says

    P(g | prompt) = sum_z P(z | prompt) pi*_z(g)                                                     (BAIL)

    total variation of a trained decoder to it at every length of a prompt        at most 0.05
    regret in 24 episodes, with and without exploration, against the exact one's  within 0.1

Pretrained on demonstrations, prompts of experts who act, its own subgoals are evidence of z to it: what it said first
it goes on saying, its regret is a line, and exploring a tenth of the episodes does not help.

A decoder of 62,290 numbers on the needle with 8 boxes, whose sign points anywhere in one of 5 episodes; documents of 24
episodes, 49 tokens.

He et al., "From words to actions", ICML 2024, arXiv 2405.19883; the line of demonstrations: Ortega et al., "Shaking the
foundations: delusions in sequence models for interaction and control", 2021.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms.bail import BAIL
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.latent.needle import Needle
from gamesim.errors import Caution
from gamesim.experiments.over_seeds import mean_interval
from gamesim.games.latent import LatentWorld
from gamesim.loop import solve
from gamesim.planning import Bail, Constant
from gamesim.planning.transformer import TransformerPlanner
from gamesim.planning.wrappers import Around
from gamesim.randomness import Stream
from gamesim.sequence.pretraining import Pretrained, Recipe, pretrained
from gamesim.sequence.streams import documents
from gamesim.study import Claim, Interval, Scale, Study, at_least, at_most

NEAR, APART, LIKELIHOOD, LINE = 0.05, 0.1, 0.01, 0.3
"""Total variation, regret, nats and regret per episode that claims speak of."""
SURE = 0.95
"""What the likeliest subgoal must have where exploration is gated."""
WORLD: LatentWorld = Needle(boxes=8, blur=0.2)
RECIPE = Recipe()
"""Of training: 2,500 steps."""
EFFORT: Mapping[Scale, tuple[int, int, int]] = {"quick": (1, 8192, 8192), "full": (3, 32768, 65536)}
"""Models, runs, and documents to measure a distance on."""
AT_ONCE = 2048
"""Runs side by side."""
TESTS = 2**30
"""The iteration of documents that no model has seen."""
WAYS: Mapping[str, Mapping[str, Any]] = {
    "plain": {},
    "eps-0.1": {"exploration": Constant(0.1)},
    "gated": {},
    "greedy": {"temperature": 0.0},
}
"""How planners are run."""


@dataclass(frozen=True)
class _Gated(Around):
    """Says the world's exploration until its planner is sure: episodes of one decision are then explored as a whole."""

    def law(self, world: LatentWorld, h: int, task: Tensor, memory: Any) -> Tensor:
        law = self.planner.law(world, h, task, memory)
        return torch.where(law.amax(-1, keepdim=True) < SURE, world.explore(h, task), law)


@dataclass(frozen=True)
class BailTransformer:
    """Distances on new documents, and regrets of runs that meet the same luck as those of the exact planner."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        models, runs, count = EFFORT[scale]
        recipes = [replace(RECIPE, seed=s) for s in range(models)]
        far, excess, worst, off = zip(*(distances(pretrained(WORLD, r, say), count) for r in recipes), strict=True)
        say(f"  total variation, by episodes told: {[round(x, 3) for x in far[0].mean(0).tolist()]}")
        places = [mean_interval(y[:, i]) for y in far for i in range(y.shape[1])]
        claims = [
            largest("total-variation", "mean total variation to the exact mixture, worst prompt length", places, NEAR),
            largest(
                "log-likelihood", "nats that answers are less likely than under the exact mixture",
                [mean_interval(x) for x in excess], LIKELIHOOD,
            ),
        ]  # fmt: skip
        exact = {way: regrets(Bail(), way, runs, say) for way in WAYS}
        labelled = [{way: regrets(planner(r), way, runs, say) for way in WAYS} for r in recipes]
        for way in WAYS:
            parts = [mean_interval(mine[way][0][:, -1] - exact[way][0][:, -1]) for mine in labelled]
            away = [(max(abs(x) for x in part[1]), part) for part in parts]
            mean, interval = max(away, key=lambda x: x[0])[1]
            claims += both_sides(way, mean, interval)
        claims.append(
            largest(
                "own-prompts", "total variation to the exact mixture on the prompts of its own runs, mean",
                [mean_interval(mine["plain"][1][:, -1]) for mine in labelled], NEAR,
            )
        )  # fmt: skip
        saved = [mean_interval(mine["eps-0.1"][0][:, -1] - mine["plain"][0][:, -1]) for mine in labelled]
        words = "labelled: exploring a tenth of the episodes saves regret (difference, below 0)"
        mean, interval = max(saved, key=lambda part: part[1][1])
        claims.append(at_most("exploration-helps", words, mean, 0.0, interval))
        fooled = [replace(r, data="demonstrations") for r in recipes]
        demonstrated = [{way: regrets(planner(r), way, runs, say) for way in ("plain", "eps-0.1")} for r in fooled]
        claims += deluded(demonstrated)
        found = {f"exact, {way}": exact[way][0] for way in WAYS}
        found |= {f"transformer, {way}": labelled[0][way][0] for way in WAYS}
        found |= {f"demonstrations, {way}": y for way, (y, _) in demonstrated[0].items()}
        rows = [
            {"measure": "regret", "planner": name.split(", ")[0], "way": name.split(", ")[1], "episodes": t,
             "mean": float(y[:, t].mean()), "standard_error": float(y[:, t].std() / len(y) ** 0.5)}
            for name, y in found.items() for t in range(y.shape[1])
        ]  # fmt: skip
        rows += [
            {"measure": "total variation", "planner": "transformer", "way": f"model {s}", "episodes": t,
             "mean": float(y[:, t].mean()), "standard_error": float(y[:, t].std() / len(y) ** 0.5)}
            for s, y in enumerate(far) for t in range(y.shape[1])
        ]  # fmt: skip
        notes = (
            f"{models} model(s) of {RECIPE.steps:,} steps; {runs:,} runs; {count:,} new documents. Of several models "
            f"the worst is judged. The largest total variation of a single prompt is {float(max(worst)):.3f}; the mean "
            f"probability of what is no subgoal {float(sum(off) / len(off)):.2g}. Gated: while the likeliest subgoal "
            f"has less than {SURE:g}, read the sign; not in the paper. Chosen after trials: a blur of 0.2, as at 0.5 "
            "exploring a tenth of the episodes helps nobody, the exact planner neither; who acts in documents, of two "
            "mixtures; the step size, of two. The likeliest subgoal is not continuous in laws, so a near "
            "law promises nothing where decoding is greedy, and differences vary most."
        )
        return Study(claims, [Chart("transformer", panels(far, found))], rows, notes)


def planner(recipe: Recipe) -> TransformerPlanner:
    return TransformerPlanner(**{name: getattr(recipe, name) for name in recipe.__dataclass_fields__})


def distances(made: Pretrained, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """On new labelled documents: total variation [document, question], how much less likely answers are, in nats
    [document], the largest total variation, and the mean probability of what is no subgoal."""
    far, less, off = list[Tensor](), list[Tensor](), list[Tensor]()
    for part in range(0, count, 1024):
        new = documents(WORLD, made.words, made.episodes, min(1024, count - part), Stream(0, TESTS + part), exact=True)
        assert new.laws is not None
        with torch.no_grad():
            logits = made.model(new.tokens)[:, made.words.asked(made.episodes)].to(new.laws)
        mine = logits[..., made.words.subgoal_tokens].softmax(-1)
        far.append((mine - new.laws).abs().sum(-1) / 2)
        chance, right = (p.gather(-1, new.labels[..., None])[..., 0] for p in (mine, new.laws))
        less.append((right.log() - chance.log()).mean(-1))
        off.append(1 - logits.softmax(-1)[..., made.words.subgoal_tokens].sum(-1))
    distance = torch.cat(far)
    return distance, torch.cat(less), distance.amax(), torch.cat(off).mean()


def regrets(who: Any, way: str, runs: int, say: Callable[[str], None]) -> tuple[Tensor, Tensor]:
    """Regret [run, episodes 0 to T] and the mean distance to the exact mixture, of runs that meet the same luck."""
    solver = BAIL(_Gated(who) if way == "gated" else who, **WAYS[way])
    found = list[tuple[Tensor, Tensor]]()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Caution)  # that demonstrations delude is what is measured
        for first in range(0, runs, AT_ONCE):
            seeds = min(AT_ONCE, runs - first)
            result = solve(WORLD, solver, iterations=RECIPE.episodes, every=1, seeds=seeds, seed=first)
            found.append((result.metric("regret"), result.metric("off_mixture")))
    regret, apart = (torch.cat(x) for x in zip(*found, strict=True))
    say(f"  {who}, {way}: regret {float(regret[:, -1].mean()):.2f} in {RECIPE.episodes} episodes")
    return regret, apart


def largest(id: str, words: str, parts: list[tuple[float, Interval]], bound: float) -> Claim:
    """At most a bound, of means with intervals: the worst decides."""
    mean, interval = max(parts, key=lambda part: part[1][1])
    return at_most(id, f"{words}, at most {bound:g}", mean, bound, interval)


def both_sides(way: str, mean: float, interval: Interval) -> list[Claim]:
    words, bound = f"{way}: regret of the transformer less that of the exact planner", APART
    return [
        at_most(f"{way}-not-above", f"{words}, at most {bound:g}", mean, bound, interval),
        at_least(f"{way}-not-below", f"{words}, at least {-bound:g}", mean, -bound, interval),
    ]


def deluded(found: list[dict[str, tuple[Tensor, Tensor]]]) -> list[Claim]:
    """Regret of models of demonstrations, [run, episodes]: a line in the second half, with exploration, too."""
    claims, half = list[Claim](), RECIPE.episodes // 2
    for way in ("plain", "eps-0.1"):
        slopes = [(x[way][0][:, -1] - x[way][0][:, half]) / (RECIPE.episodes - half) for x in found]
        mean, interval = min((mean_interval(x) for x in slopes), key=lambda part: part[1][0])
        words = f"demonstrations, {way}: regret per episode in the second half, at least {LINE:g}"
        claims.append(at_least(f"demonstrations-{way}", words, mean, LINE, interval))
    gains = [x["eps-0.1"][0][:, -1] - x["plain"][0][:, -1] for x in found]
    mean, interval = min((mean_interval(x) for x in gains), key=lambda part: part[1][0])
    words = "demonstrations: exploring a tenth of the episodes saves nothing (difference of regrets, at least 0)"
    claims.append(at_least("exploration-does-not-help", words, mean, 0.0, interval))
    return claims


def panels(far: tuple[Tensor, ...], found: Mapping[str, Tensor]) -> list[Panel]:
    told = [float(t) for t in range(far[0].shape[1])]
    apart = [
        Curve(name, told, y.tolist(), dashed=dashed)
        for name, y, dashed in (
            ("mean", far[0].mean(0), False),
            ("95% of prompts below", far[0].quantile(0.95, dim=0), True),
        )
    ]
    named = [name for name in found if "demonstrations" not in name]
    curves = [
        Curve(name, told[: found[name].shape[1]], found[name].mean(0).tolist(), dashed=name.startswith("exact"))
        for name in named
    ]
    lines = [
        Curve(name, told[: found[name].shape[1]], found[name].mean(0).tolist())
        for name in found
        if "demonstrations" in name or name == "transformer, plain"
    ]
    return [
        Panel("Distance to the Bayes mixture", "episodes told", "total variation", apart, log_x=False, log_y=False),
        Panel("Regret: exact and pretrained", "episodes", "regret", curves, log_x=False, log_y=False),
        Panel("Pretrained on demonstrations", "episodes", "regret", lines, log_x=False, log_y=False),
    ]
