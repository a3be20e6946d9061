"""Speculative decoding: the law of what is written, counts, memories, and arms at work."""

import itertools
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from gamesim.algorithms.exp3_spec import EXP3Spec
from gamesim.algorithms.ucb_spec import UCBSpec
from gamesim.envs.bandits.acceptance_log import AcceptanceLog
from gamesim.errors import InvalidInput
from gamesim.experiments import speculative_transformer
from gamesim.formats.acceptance import read_acceptance
from gamesim.randomness import Stream
from gamesim.sequence.arms import Arm, Live, as_csv, recorded
from gamesim.sequence.decoder import Decoder
from gamesim.sequence.generation import generate, law
from gamesim.sequence.speculative import Decoding, residual, speculate, verified

LETTERS = 4


def decoder(seed: int, width: int = 16, sharpness: float = 2.0, context: int = 12) -> Decoder:
    one = Decoder(LETTERS, width=width, heads=2, blocks=1, context=context)
    one.reset(torch.Generator().manual_seed(seed)).requires_grad_(False)
    one.head.weight.mul_(sharpness)
    return one


def laws(*shape: int, seed: int = 0) -> Tensor:
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (2 * x).softmax(-1)


def chi_square(seen: Tensor, p: Tensor) -> float:
    """How far counts are from their law, as the probability of being as far by chance."""
    from scipy.stats import chi2

    wanted = p * seen.sum()
    often = wanted > 5
    x = (seen - wanted).square() / wanted.clamp(min=1e-12)
    rest = (seen[~often].sum() - wanted[~often].sum()) ** 2 / wanted[~often].sum().clamp(min=1e-12)
    return float(chi2.sf(float(x[often].sum() + rest), int(often.sum())))


def exact(target: Decoder, begun: int, length: int) -> tuple[Tensor, Tensor]:
    """All texts of so many letters behind a beginning, and the target's probability of each."""
    texts = torch.tensor(list(itertools.product(range(LETTERS), repeat=length)))
    whole = torch.cat([torch.full((len(texts), 1), begun), texts], 1)
    return texts, law(target(whole))[:, :-1].gather(-1, texts[..., None]).squeeze(-1).prod(-1)


def test_what_stays_and_what_comes_instead() -> None:
    """`verified` over a fine grid of luck: stays with min(1, p / q), or else a token of the residual."""
    p, q = laws(2, 5, seed=1), laws(1, 5, seed=2)
    p[0, 3] = 0.0
    p[0] /= p[0].sum()
    fine = 2000
    u = (torch.arange(fine, dtype=torch.float64) + 0.5) / fine
    for x in range(5):
        proposed = torch.full((fine, 1), x)
        kept, token = verified(p.expand(fine, 2, 5), q.expand(fine, 1, 5), proposed, torch.stack([u, u.flip(0)], -1))
        assert float(kept.double().mean()) == pytest.approx(min(1.0, float(p[0, x] / q[0, x])), abs=1 / fine)
        everywhere = u[:, None].expand(fine, 2).clone()
        everywhere[:, 0] = 1 - 1e-9  # refused wherever it may be
        n, token = verified(p.expand(fine, 2, 5), q.expand(fine, 1, 5), proposed, everywhere)
        wanted = p[1] if int(n[0]) else residual(p[:1], q)[0]
        assert_close(torch.bincount(token, minlength=5).double() / fine, wanted, atol=1.1 / fine, rtol=0)


def test_one_call_has_the_law_of_the_target_exactly() -> None:
    """Everything that a call with gamma = 2 may do, with the target behind it: the law of three letters is its own."""
    target, draft = decoder(1), decoder(2, 8)
    texts, p = exact(target, 1, 3)
    whole = torch.cat([torch.ones(len(texts), 1, dtype=torch.long), texts], 1)
    own, theirs = law(target(whole)), law(draft(whole))
    found = torch.zeros(LETTERS, LETTERS, LETTERS, dtype=torch.float64)
    by = {tuple(text.tolist()): i for i, text in enumerate(texts)}
    for a, b in itertools.product(range(LETTERS), repeat=2):  # what is proposed
        i = by[a, b, 0]
        p1, p2, p3 = own[i, 0], own[i, 1], own[i, 2]
        q1, q2 = theirs[i, 0], theirs[i, 1]
        first, second = (min(1.0, float(x / y)) for x, y in ((p1[a], q1[a]), (p2[b], q2[b])))
        chance = float(q1[a] * q2[b])
        found[a, b] += chance * first * second * p3
        for c in range(LETTERS):
            after = own[by[a, c, 0], 2]
            found[a, c] += chance * first * (1 - second) * residual(p2, q2)[c] * after
            for d in range(LETTERS):
                i = by[c, d, 0]
                found[c, d] += chance * (1 - first) * residual(p1, q1)[c] * own[i, 1, d] * own[i, 2]
    assert_close(found.flatten(), p, atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize(("gamma", "temperature", "top_p"), [(1, 1.0, 1.0), (3, 0.7, 1.0), (2, 1.0, 0.8)], ids=str)
def test_texts_have_the_law_of_the_target(gamma: int, temperature: float, top_p: float) -> None:
    target, draft = decoder(3), decoder(4, 8)
    texts = torch.tensor(list(itertools.product(range(LETTERS), repeat=3)))
    whole = torch.cat([torch.full((len(texts), 1), 2), texts], 1)
    p = law(target(whole), temperature, top_p)[:, :-1].gather(-1, texts[..., None]).squeeze(-1).prod(-1)
    begun = torch.full((8000, 1), 2)
    found = speculate(target, draft, begun, 3, gamma, Stream(7), temperature=temperature, top_p=top_p)
    code = (found.tokens[:, 1:] * torch.tensor([16, 4, 1])).sum(-1)
    assert chi_square(torch.bincount(code, minlength=64).double(), p) > 1e-3
    assert not (p[torch.unique(code)] == 0).any()


def test_counts_of_calls_and_tokens() -> None:
    target, draft = decoder(5), decoder(6, 8)
    found = speculate(target, draft, torch.ones(200, 2, dtype=torch.long), 8, 3, Stream(0))
    assert found.tokens.shape == (200, 10)
    assert bool((found.tokens[:, :2] == 1).all())
    done = found.brought.cumsum(-1)
    assert bool((done[:, -1] >= 8).all())
    last = found.calls[:, None] - 1
    assert bool(((done - found.brought).gather(-1, last) < 8).all())  # no call but those that were needed
    assert int(found.brought.max()) <= 4
    own = speculate(target, target, torch.ones(50, 2, dtype=torch.long), 8, 3, Stream(0))
    assert own.brought.tolist() == [[4, 4]] * 50  # a draft that is the target is never refused


def test_without_temperature_texts_are_the_targets_own() -> None:
    target, draft = decoder(7), decoder(8, 8)
    begun = torch.arange(LETTERS)[:, None]
    wanted = generate(target, begun, 9, Stream(0), temperature=0)
    for gamma in (1, 3):
        assert torch.equal(speculate(target, draft, begun, 9, gamma, Stream(1), temperature=0).tokens, wanted)


def test_memories_are_those_of_the_texts() -> None:
    """After any calls, of any arms on any runs, what decoders remember is what reading the text anew would give."""
    target, drafts = decoder(9, context=30), (decoder(10, 8, context=30), decoder(11, 8, context=30))
    decoding = Decoding.of(target, drafts)
    texts = decoding.texts(torch.ones(6, 3, dtype=torch.long))
    for t in range(6):
        which, gamma = t % 2, 1 + t % 3
        runs = torch.arange(6)[(torch.arange(6) + t) % 3 > 0]
        u = Stream(3, t).uniform((len(runs), 2 * gamma + 1))
        longer, brought = decoding.call(texts.at(runs), which, gamma, u)
        assert torch.equal(longer.length, texts.length[runs] + brought)
        texts = texts.put(runs, longer)
    for one, memory in zip((target, *drafts), texts.memories, strict=True):
        for run in range(6):
            n = int(memory.length[run])
            assert n < int(texts.length[run])
            _, anew = one.extend(one.begin((1,)), texts.tokens[run : run + 1, :n])
            assert_close(memory.keys[run, :, :n], anew.keys[0, :, :n], atol=1e-5, rtol=1e-5)
            assert_close(memory.values[run, :, :n], anew.values[0, :, :n], atol=1e-5, rtol=1e-5)
            assert not texts.tokens[run, int(texts.length[run]) :].any()


def prompts(generator: Stream) -> Tensor:
    return torch.ones(8, 2, dtype=torch.long)


def live(tokens: float = 1e9) -> Live:
    target = decoder(12, context=20)
    return Live(target, [Arm(decoder(13, 8, context=20), 3), Arm(target, 3)], prompts, 8, tokens)


def test_recorded_lengths_are_an_environment(tmp_path: Path) -> None:
    log = recorded(live, 30, range(8), ("stranger", "itself"))
    assert [len(x) for x in log.lengths] == [240, 240]
    assert set(log.lengths[1]) == {4.0}
    assert log.lengths[0].min() >= 1
    assert log.lengths[0].max() <= 4
    file = tmp_path / "log.csv"
    file.write_text(as_csv(log), encoding="utf-8")
    assert sorted(read_acceptance(file).arms) == ["itself", "stranger"]
    game = AcceptanceLog(data=str(file), tokens=100, replay="samples")
    assert_close(game.mean_rewards(0), torch.tensor([4.0, float(log.lengths[0].mean())], dtype=torch.float64))


@pytest.mark.parametrize("solver", [UCBSpec(), EXP3Spec()], ids=["ucb-spec", "exp3-spec"])
def test_solvers_choose_for_decoders_at_work(solver: UCBSpec | EXP3Spec) -> None:
    game = live(tokens=100)
    state, t = solver.init(game), 0
    while bool(state.tally.playing.any()):
        state, t = solver.step(t, game, state, Stream(list(range(8)), t)), t + 1  # type: ignore[assignment, arg-type]
    assert bool((state.tally.reward >= 100).all())
    assert bool((state.tally.rounds <= 100).all())
    assert float(state.tally.rounds.mean()) < 100 / 2  # an arm of 4 tokens is found
    assert_close(torch.stack(game.brought)[: int(state.tally.rounds.min())].sum(0) > 0, torch.ones(8, dtype=torch.bool))


def test_refusals_say_what_would_be_right() -> None:
    target, begun = decoder(1), torch.ones(2, 1, dtype=torch.long)
    with pytest.raises(InvalidInput, match=r"draft\.vocabulary"):
        speculate(target, Decoder(5, width=8, heads=2), begun, 3, 2, Stream(0))
    with pytest.raises(InvalidInput, match=r"draft\.context"):
        speculate(target, decoder(1, context=5), begun, 3, 2, Stream(0))
    with pytest.raises(InvalidInput, match="at most 10, as the context is 12 and gamma 2"):
        speculate(target, target, begun, 11, 2, Stream(0))
    assert speculate(target, target, begun, 10, 2, Stream(0)).tokens.shape == (2, 11)
    with pytest.raises(InvalidInput, match="gamma"):
        speculate(target, target, begun, 3, 0, Stream(0))
    with pytest.raises(InvalidInput, match="arms"):
        Live(target, [], prompts, 8, 10)
    with pytest.raises(InvalidInput, match="prompts"):
        Live(target, [Arm(target, 11)], prompts, 8, 10).answers(torch.zeros(8, 1, dtype=torch.long), Stream(0))


def test_the_experiment_in_small(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"steps": 8, "rounds": 5, "runs": 6, "seeds": 4, "budgets": (20, 40, 80), "live": 12, "texts": 1}
    monkeypatch.setitem(speculative_transformer.EFFORT, "quick", small)
    study = speculative_transformer.SpeculativeTransformer().run("quick", lambda text: None)
    verdicts = {claim.id: claim.verdict for claim in study.claims}
    assert verdicts["same-law"] == "holds"
    assert all(math.isfinite(claim.statistic) for claim in study.claims)
    assert len(study.data) == 2 * 7 * 3 * 4
