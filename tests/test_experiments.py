"""The claims that this repository makes, judged at the quick scale: a verdict that changes is a finding."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from gamesim import catalog
from gamesim.experiments import graphon_finite_population as finite_population
from gamesim.study import reproduce

OTHERWISE = {
    "graphon-estimation-rate": {
        "known-grid-episodes": "undecided",  # eight seeds leave the slope between -0.54 and -0.15
        "known-grid-agents-fall": "undecided",
        "unknown-episodes-fall": "undecided",  # ranks do not come nearer to positions with more episodes
    },
    "ftrl-strict-stability": {
        "weak-noisy": "undecided",  # a hundred runs are few
        "weak-bandit": "undecided",  # exploration favours the weakly dominating action: some euclidean runs end there
    },
    "last-iterate": {
        "random-optimistic": "undecided",  # rates of random games, fitted over short runs
        "random-extra-gradient": "undecided",
        "pennies-average": "undecided",  # slopes of exploitability against T end at -0.48 to -0.50
        "hands-average": "undecided",
        "random-average": "undecided",
    },
    "bail-grid": {"reporter-cost": "undecided"},  # the difference of two small regrets, over 96 runs
    "attention-sink-in-sets": {"sigmoid-none-raw": "fails"},  # weights that do not sum to one may all be large
    "n-free-lipschitz": {
        "class-sigmoid-plain-mean-grows": "fails",  # projected rows hide that sums grow
        "layer-sigmoid-log-n-mean-flat": "undecided",
        "free-sigmoid-log-n-mean-flat": "undecided",
    },
    "suboptimality-in-n": {"linear-model-free-gap": "undecided"},  # the interval of its growth over N holds the bound
    "superposition": {"one-task-superposes": "fails"},  # a decoder of one task at a time is nearer to a point mass
    "sparse-bandit-regret": {"h50-present-linear": "undecided"},
}
"""What does not hold at the quick scale, and is reported so."""
TRAINED = {
    "attention-sink-in-sets",
    "bail-grid",
    "bail-transformer",
    "cot-error",
    "icl-bma",
    "superposition",
    "linear-attention-risk",
    "offline-spread",
    "relational-critic",
}
"""Networks trained in float32, by a few seeds: another processor rounds otherwise, and what is undecided may hold there
or the other way round. What may not change is that nothing fails but what is named."""


LONG = {
    "attention-sink-in-sets",
    "bail-grid",
    "bail-many-actors",
    "bail-opponents",
    "bail-transformer",
    "bail-world-model",
    "cot-error",
    "ftrl-rates",
    "ftrl-strict-stability",
    "graphon-estimation-rate",
    "graphon-finite-population",
    "graphon-sampled-values",
    "graphon-unknown",
    "icl-bma",
    "linear-attention-risk",
    "n-free-lipschitz",
    "offline-spread",
    "relational-critic",
    "speculative-transformer",
    "suboptimality-in-n",
    "superposition",
    "vi-bias-richardson",
}
"""A quarter of a minute to two minutes each: `pytest -m slow` judges them. CI runs tiny ones: below, or in the tests of
each (bail-many-actors, bail-transformer, bail-world-model, cot-error, icl-bma, offline-spread, speculative-transformer,
superposition)."""


def shorter(games: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    return lambda graphon: [replace(game, horizon=6) for game in games(graphon)]


TINY: dict[str, dict[str, Callable[[Any], Any]]] = {
    "attention-sink-in-sets": {"EFFORT": lambda old: {"quick": (2, 8)}},
    "bail-grid": {
        "EFFORT": lambda old: {"quick": ((4, 8, 12, 16, 20), 8, 1, 400)},
        "PAIRS": lambda old: (200, 400),
        "TRANSITIONS": lambda old: (200, 300),
    },
    "bail-opponents": {"EFFORT": lambda old: {"quick": ((4, 8, 12, 16), 8)}},
    "ftrl-rates": {
        "runs_of": lambda old: lambda *of: min(20, old(*of)),
        "length_of": lambda old: lambda *of: old(*of) // 25,
    },
    "ftrl-strict-stability": {"runs_of": lambda old: lambda *of: 20, "length_of": lambda old: lambda *of: 100},
    "graphon-estimation-rate": {
        "EFFORT": lambda old: {"quick": (2, [10, 20, 40], [8, 12])},
        "MOST_AGENTS": lambda old: 12,
        "MOST_EPISODES": lambda old: 40,
        "SIS": lambda old: lambda **given: old(horizon=6, **given),
        "Learner": lambda old: lambda **given: old(**given | {"restarts": 1}),
    },
    "graphon-finite-population": {
        "EFFORT": lambda old: {
            "quick": {
                "values": finite_population.Effort((10, 20, 30, 40), 8, 4),
                "gains": finite_population.Effort((10, 20, 30, 40), 8, 4, 2),
            }
        },
    },
    "graphon-sampled-values": {
        "ITERATIONS": lambda old: 2,
        "averaged_rate": lambda old: lambda found, lengths: old(found, [4, 8, 16]),
        "SIS": lambda old: lambda **given: old(**given | {"horizon": 6}),
        "Beach": lambda old: lambda **given: old(**given | {"horizon": 5}),
        "sampled": lambda old: lambda N, K, *rest, **more: old(N, max(2, K // 25), *rest, **more),
    },
    "graphon-unknown": {"EFFORT": lambda old: {"quick": ([20], 2)}, "AGENTS": lambda old: 8, "true_games": shorter},
    "linear-attention-risk": {"EFFORT": lambda old: {"quick": (2, 10)}},
    "n-free-lipschitz": {
        "SIZES": lambda old: old[:4],
        "EFFORT": lambda old: {"quick": (2, 2, 1)},
        "inequality": lambda old: lambda seeds, draws, steps: old(seeds, 60, 10),
    },
    "relational-critic": {
        "EFFORT": lambda old: {
            "quick": old["quick"]._replace(steps={"reward": {3: 4, 6: 4}}, seeds=2, episodes=20, fresh=10)
        }
    },
    "suboptimality-in-n": {
        "SIZES": lambda old: {
            "quick": replace(old["quick"], agents=(4, 8, 12), few=(4, 6, 8), seeds=dict.fromkeys(old["quick"].seeds, 4))
        }
    },
    "vi-bias-richardson": {
        "bias_ladder": lambda old: lambda *of, **size: old(*of, **size | {"seeds": 32, "iterations": 400})
    },
}
"""What makes those tiny that no other test does: of names in the module of each, what they become."""
SURE = {
    "bail-grid": "actor-reference value-reference compiled exploring-bound",
    "bail-opponents": "experts argmax-allc exploration-helps bail-equilibrium map-exploitable bail-exploitable",
    "n-free-lipschitz": "layer-random layer-adversarial softmax-mean-bound sigmoid-log-n-mean-bound",
}
"""Claims that hold at any scale: exact ones, and wide ones."""
NAMES = [pytest.param(x, marks=[pytest.mark.slow] * (x in LONG)) for x in sorted(catalog.table("experiments"))]


@pytest.mark.parametrize("name", NAMES)
def test_claims_hold_at_the_quick_scale(name: str, tmp_path: Path) -> None:
    result = reproduced(name, tmp_path)
    otherwise = {c["id"]: c["verdict"] for c in result["claims"] if c["verdict"] != "holds"}
    if name in TRAINED:
        otherwise = {claim: verdict for claim, verdict in otherwise.items() if verdict == "fails"}
        assert otherwise.items() <= OTHERWISE.get(name, {}).items()
    else:
        assert otherwise == OTHERWISE.get(name, {})


@pytest.mark.parametrize("name", sorted(TINY))
def test_tiny_ones_say_all_that_the_long_ones_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module(catalog.find("experiments", name).__module__)
    for what, made in TINY[name].items():
        monkeypatch.setattr(module, what, made(getattr(module, what)))
    result = reproduced(name, tmp_path)
    verdicts = {c["id"]: c["verdict"] for c in result["claims"]}
    assert len(verdicts) == len(result["claims"])
    assert OTHERWISE.get(name, {}).keys() <= verdicts.keys()
    assert {verdicts[claim] for claim in SURE.get(name, "").split()} <= {"holds"}


def reproduced(name: str, tmp_path: Path) -> dict[str, Any]:
    """What an experiment says at the quick scale, once its report, figures and data are seen to be there."""
    (result,) = reproduce({name: catalog.find("experiments", name)}, "quick", tmp_path / "report")
    assert result["claims"]
    report = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in report
    assert "<script" not in report
    assert all(Path(figure).stat().st_size > 5000 for figure in result["figures"])
    assert (tmp_path / "report" / name / "data.csv").read_text(encoding="utf-8").count("\n") > 5
    return result
