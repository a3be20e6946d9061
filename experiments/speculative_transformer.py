"""speculative-transformer: which draft to speculate with, learned from what real drafts of a real decoder bring.

A small decoder is trained on texts of two languages (random hidden Markov chains; the first token says which), and is
the target. Smaller ones propose: one of one block trained on both languages, one trained on each language alone, and
one that has hardly been trained. Every call of the target brings n + 1 tokens, n of them proposed; what is written has
the law of the target whatever proposes, so that only the number of calls until N tokens matters, and its regret

    Reg = E[calls(algorithm)] - min_i E[calls(arm i always)]

The language of a text is not known beforehand to who chooses the arm, and the best arm differs between languages.
Numbers of tokens are recorded from the decoders, each arm always, and replayed in any order as a stationary bandit;
last, UCBSpec and EXP3Spec choose for decoders at work, call by call.

Claims: texts have the law of the target (exact, by enumeration, against 20,000 texts); each arm brings more than one
token a call; UCBSpec and EXP3Spec need fewer calls than an arm drawn uniformly, and lose less per token the longer the
text; at work as in the replay.

Leviathan, Kalman and Matias, "Fast inference from transformers via speculative decoding", ICML 2023; Chen et al., arXiv
2302.01318; Hou et al., "BanditSpec: adaptive speculative decoding via bandit algorithms", ICML 2025, arXiv 2505.15141.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gamesim.algorithms.exp3_spec import EXP3Spec
from gamesim.algorithms.fixed_policy import FixedPolicy
from gamesim.algorithms.ucb_spec import UCBSpec
from gamesim.charts import Chart, Curve, Panel
from gamesim.envs.bandits.acceptance_log import AcceptanceLog
from gamesim.experiments.over_seeds import band, mean_interval
from gamesim.formats.acceptance import Acceptance
from gamesim.loop import solve
from gamesim.randomness import Stream
from gamesim.sequence.arms import Arm, Live, recorded
from gamesim.sequence.decoder import Decoder
from gamesim.sequence.generation import law
from gamesim.sequence.speculative import speculate
from gamesim.sequence.training import train
from gamesim.simplex import drawn
from gamesim.study import Claim, Scale, Study, at_least, at_most

LETTERS, STATES, CONTEXT = 12, 5, 40
"""Tokens 0 and 1 begin a text and say its language; the letters come behind them."""
GAMMA = 4
SHARPNESS = 2.5
"""Standard deviation of the logits of the languages' laws."""
EFFORT: Mapping[Scale, dict[str, Any]] = {
    "quick": {"steps": 300, "rounds": 150, "runs": 32, "seeds": 64, "budgets": (250, 1000, 4000, 16_000), "live": 400,
              "texts": 20},
    "full": {"steps": 2500, "rounds": 600, "runs": 64, "seeds": 256, "budgets": (250, 1000, 4000, 16_000, 64_000),
             "live": 2000, "texts": 100},
}  # fmt: skip
SOLVERS: Mapping[str, Any] = {"ucb-spec": UCBSpec(), "exp3-spec": EXP3Spec(), "uniform": FixedPolicy()}


@dataclass(frozen=True)
class SpeculativeTransformer:
    """Decoders trained here, their acceptance lengths, and bandits on them."""

    def run(self, scale: Scale, say: Callable[[str], None]) -> Study:
        effort = EFFORT[scale]
        target, arms = decoders(effort["steps"], say)
        claims = [same_law(target, next(iter(arms.values())).draft, effort["texts"])]
        rows, panels, budgets = list[dict[str, Any]](), list[Panel](), effort["budgets"]
        for language in (0, 1):
            log = record(target, arms, language, effort["rounds"], effort["runs"])
            means = {name: x.mean() for name, x in zip(log.arms, log.lengths, strict=True)}
            say(f"  language {language}: tokens a call { ({name: round(float(x), 2) for name, x in means.items()}) }")
            claims += [brings(f"{name}-{language}", language, x) for name, x in zip(log.arms, log.lengths, strict=True)]
            regret = replayed(log, budgets, effort["seeds"])
            said = {name: [round(float(x), 1) for x in y.mean(0)] for name, y in regret.items()}
            say(f"  language {language}: calls lost at {list(budgets)} tokens {said}")
            claims += learned(language, regret, budgets)
            rows += [
                {"language": language, "solver": name, "tokens": n, "seed": seed, "regret": float(y[seed, i])}
                for name, y in regret.items() for i, n in enumerate(budgets) for seed in range(len(y))
            ]  # fmt: skip
            x = [float(n) for n in budgets]
            curves = [band(name, x, regret[name].clamp(min=0.1), dots=True) for name in SOLVERS]
            curves += [Curve(name, x, y.mean(0).clamp(min=0.1).tolist(), dashed=True)
                       for name, y in regret.items() if name not in SOLVERS]  # fmt: skip
            panels.append(Panel(f"Language {language}", "tokens", "calls of the target lost", curves, log_x=True))
        found, more = at_work(target, arms, effort["live"], effort["runs"])
        say(f"  at work: calls until {effort['live']} tokens {found}")
        return Study([*claims, *more], [Chart("regret", panels)], rows, notes(found, effort))


def languages() -> tuple[Tensor, Tensor]:
    """Laws of the next state, [language, state, state], and of a letter, [language, state, letter]."""
    luck = Stream(11)
    moves = (SHARPNESS * luck.normal((2, STATES, STATES))).softmax(-1)
    return moves, (SHARPNESS * luck.normal((2, STATES, LETTERS))).softmax(-1)


def written(count: int, length: int, generator: Stream, only: int | None = None) -> Tensor:
    """Texts of either language, or of one only: long [count, length]."""
    moves, letters = languages()
    u = generator.uniform((2 * length + 1, count))
    spoken = (u[-1] < 0.5).long() if only is None else torch.full((count,), only)
    text, state = [spoken], (u[-2] * STATES).long()
    for i in range(length - 1):
        text.append(2 + drawn(letters[spoken, state], u[2 * i]))
        state = drawn(moves[spoken, state], u[2 * i + 1])
    return torch.stack(text, -1)


def decoders(steps: int, say: Callable[[str], None]) -> tuple[Decoder, dict[str, Arm]]:
    """The target, and arms by name; all of them are trained here."""

    def trained(name: str, width: int, blocks: int, steps: int, only: int | None = None) -> Decoder:
        network = Decoder(2 + LETTERS, width=width, heads=2, blocks=blocks, context=CONTEXT)

        def batches(t: int, generator: Stream) -> tuple[Tensor, Tensor]:
            text = written(64, CONTEXT + 1, generator, only)
            return text[:, :-1].contiguous(), text[:, 1:].contiguous()

        done = train(network, batches, steps, seed=0, step_size=5e-3, warm_up=50)
        say(f"  {name}: {network.size:,} numbers, {steps} steps, loss {float(done.losses[-20:].mean()):.3f}")
        return network.holding(done.weights)

    target = trained("target", 32, 2, steps)
    drafts = {
        "both": trained("draft of both", 16, 1, steps),
        "first": trained("draft of the first", 16, 1, steps, 0),
        "second": trained("draft of the second", 16, 1, steps, 1),
        "raw": trained("raw draft", 16, 1, max(1, steps // 30)),
    }
    return target, {name: Arm(draft, GAMMA) for name, draft in drafts.items()}


def same_law(target: Decoder, draft: Decoder, thousands: int) -> Claim:
    """Two letters behind a beginning, against the target's own law of them, enumerated: a chi-square test."""
    from scipy.stats import chi2

    letters = torch.arange(target.vocabulary)
    pairs = torch.tensor(list(itertools.product(letters.tolist(), repeat=2)))
    begun = torch.zeros(len(pairs), 1, dtype=torch.long)
    with torch.no_grad():
        laws = law(target(torch.cat([begun, pairs], -1)))[:, :2]
    p = laws.gather(-1, pairs[..., None]).squeeze(-1).prod(-1) * 1000 * thousands
    begun = torch.zeros(1000, 1, dtype=torch.long)
    told = torch.cat([speculate(target, draft, begun, 2, GAMMA, Stream(3, t)).tokens for t in range(thousands)])
    seen = torch.bincount(told[:, 1] * target.vocabulary + told[:, 2], minlength=len(pairs)).to(p)
    often = p >= 5
    wanted, met = (torch.cat([x[often], x[~often].sum()[None]]) for x in (p, seen))
    statistic = float(((met - wanted).square() / wanted.clamp(min=1e-9)).sum())
    ratio = statistic / float(chi2.ppf(0.999, int(often.sum())))
    words = f"{thousands},000 texts written speculatively have the target's law of two letters: chi-square with "
    return at_most("same-law", f"{words}{int(often.sum())} degrees of freedom over its 0.999 quantile", ratio, 1.0)


def record(target: Decoder, arms: Mapping[str, Arm], language: int, rounds: int, runs: int) -> Acceptance:
    """What each arm brings in texts of a language."""
    return recorded(lambda: work(target, arms, language, runs, 1e9), rounds, range(runs), tuple(arms))


def work(target: Decoder, arms: Mapping[str, Arm], language: int, runs: int, tokens: float, means: Any = None) -> Live:
    """Decoders writing texts of a language, as a bandit."""

    def prompts(generator: Stream) -> Tensor:
        return torch.full((runs, 1), language)

    return Live(target, list(arms.values()), prompts, runs, tokens, means)


def replayed(log: Acceptance, budgets: Sequence[int], seeds: int) -> dict[str, Tensor]:
    """Calls lost to the best arm, [seed, budget], by solvers and by each arm always; all meet the same luck."""
    game = AcceptanceLog(data=log, tokens=torch.tensor(budgets, dtype=torch.float64), replay="samples")
    most = max(budgets)

    def calls(solver: Any) -> Tensor:
        return solve(game, solver, iterations=most, every=most, seeds=seeds).metric("rounds")[..., -1]

    always = {f"always {name}": calls(FixedPolicy(a)) for a, name in enumerate(log.arms)}
    best = min(always.values(), key=lambda y: float(y[:, -1].mean()))
    return {name: y - best for name, y in ({k: calls(s) for k, s in SOLVERS.items()} | always).items()}


def brings(name: str, language: int, lengths: Any) -> Claim:
    mean, interval = mean_interval(torch.as_tensor(lengths))
    return at_least(
        f"tokens-{name}", f"tokens a call, {name[:-2]} in language {language}, above 1", mean, 1.0, interval
    )


def learned(language: int, regret: Mapping[str, Tensor], budgets: Sequence[int]) -> list[Claim]:
    """Less is lost than by an arm drawn uniformly, and less per token at the end than at the beginning."""
    claims = list[Claim]()
    for name in ("ucb-spec", "exp3-spec"):
        mean, interval = mean_interval(regret[name][:, -1] - regret["uniform"][:, -1])
        words = f"{name}, language {language}: fewer calls lost than uniform at {budgets[-1]:,} tokens (difference)"
        claims.append(at_most(f"{name}-below-uniform-{language}", words, mean, 0.0, interval))
        share = regret[name] / torch.tensor(budgets)
        mean, interval = mean_interval(share[:, -1] - share[:, 1])
        words = f"{name}, language {language}: calls lost per token fall from {budgets[1]:,} tokens to {budgets[-1]:,}"
        claims.append(at_most(f"{name}-learns-{language}", f"{words} (difference)", mean, 0.0, interval))
    return claims


def at_work(target: Decoder, arms: Mapping[str, Arm], tokens: int, runs: int) -> tuple[dict[str, Any], list[Claim]]:
    """Solvers who choose for decoders at work, half of the runs in each language."""
    found, calls = dict[str, Any](), dict[str, Tensor]()
    half = torch.arange(runs) % 2

    def prompts(generator: Stream) -> Tensor:
        return half[:, None].clone()

    for name, solver in SOLVERS.items():
        game = Live(target, list(arms.values()), prompts, runs, tokens)
        state, t = solver.init(game), 0
        while bool(state.tally.playing.any()):
            state, t = solver.step(t, game, state, Stream(list(range(runs)), t)), t + 1
        calls[name] = state.tally.rounds[:, 0]
        found[name] = round(float(calls[name].mean()), 1)
    claims = []
    for name in ("ucb-spec", "exp3-spec"):
        mean, interval = mean_interval(calls[name] - calls["uniform"])
        words = f"{name} at work: fewer calls until {tokens:,} tokens than uniform (difference)"
        claims.append(at_most(f"{name}-at-work", words, mean, 0.0, interval))
    mean, interval = mean_interval(tokens / calls["ucb-spec"])
    claims.append(at_least("at-work", "ucb-spec at work: tokens a call of the target, above 1", mean, 1.0, interval))
    return found, claims


def notes(found: Mapping[str, Any], effort: Mapping[str, Any]) -> str:
    return (
        f"Calls at work until {effort['live']:,} tokens, mean over {effort['runs']} runs: {dict(found)}. Only calls of "
        "the target are counted: drafts are small, and what they cost depends on the machine. Lengths are drawn from "
        "the log one by one, so that what one call says of the next is left out there, and is in at work."
    )
