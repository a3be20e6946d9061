"""Latent concepts in context: exact predictors against enumeration and quadrature, and the studies at a tiny scale."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gamesim.errors import InvalidInput
from gamesim.experiments import cot_error, icl_bma, superposition
from gamesim.randomness import Stream
from gamesim.sequence.chains import Chains, prompting_errors
from gamesim.sequence.concepts import Concepts, Examples, even, excess_losses
from gamesim.sequence.mixtures import proportions, shares
from gamesim.simplex import drawn

SOURCE = Concepts.random(3, 2, 4, seed=1)


def some(source: Concepts, streams: int, length: int, seed: int = 0) -> tuple[Tensor, Examples]:
    generator = Stream(seed)
    concepts = drawn(source.prior, generator.uniform((streams,)))[:, None].expand(streams, length)
    return concepts, source.draw(generator, concepts)


def test_the_average_is_bayes_rule() -> None:
    _, examples = some(SOURCE, 4, 5)
    laws, found, posteriors = SOURCE.laws, SOURCE.averages(examples), SOURCE.posteriors(examples).exp()
    for b, i in itertools.product(range(4), range(5)):
        weights = SOURCE.prior.clone()
        for j in range(i):
            weights = weights * laws[:, examples.contexts[b, j], examples.answers[b, j]]
        torch.testing.assert_close(posteriors[b, i], weights / weights.sum(), rtol=0, atol=1e-12)
        wanted = weights @ laws[:, examples.contexts[b, i]] / weights.sum()
        torch.testing.assert_close(found[b, i], wanted, rtol=0, atol=1e-12)


def test_examples_have_the_law_of_their_concept() -> None:
    concepts = torch.arange(3).repeat(20_000)[:, None]
    examples = SOURCE.draw(Stream(2), concepts)
    for z, c in itertools.product(range(3), range(2)):
        here = (concepts == z) & (examples.contexts == c)
        counted = torch.bincount(examples.answers[here], minlength=4) / here.sum()
        assert float((counted - SOURCE.laws[z, c]).abs().max()) < 5 * 0.5 / float(here.sum()) ** 0.5


def test_sources_side_by_side_are_the_sources_one_by_one() -> None:
    families = Chains.random(3, 2, families=4, seed=3).full
    truth = torch.arange(3).expand(4, 3)[..., None].expand(4, 3, 6)
    examples = families.draw(Stream(4), truth)
    for f in range(4):
        one = Concepts(families.prior, families.contexts, families.laws[f])
        alone = Examples(examples.contexts[f], examples.answers[f])
        torch.testing.assert_close(families.posteriors(examples)[f], one.posteriors(alone))
        torch.testing.assert_close(families.averages(examples)[f], one.averages(alone))


def test_excess_losses_are_bounded_on_every_path_whoever_made_it() -> None:
    examples = Examples(*(torch.cartesian_prod(*[torch.arange(n)] * 4) for n in (2, 4)))
    every = Examples(examples.contexts.repeat_interleave(256, 0), examples.answers.repeat(16, 1))
    loss = -SOURCE.averages(every).gather(-1, every.answers[..., None])[..., 0].log()
    excess = excess_losses(loss, SOURCE.log_likelihoods(every))
    assert float(excess.max()) <= math.log(3) + 1e-12
    assert float(excess.max()) > 0.9 * math.log(3)


def test_distances_between_concepts() -> None:
    p = 0.8
    coin = Concepts(even(2), even(1), torch.tensor([[[p, 1 - p]], [[1 - p, p]]], dtype=torch.float64))
    wanted = 2 * math.sqrt(p * (1 - p))
    assert float(coin.affinities()[0, 1]) == pytest.approx(wanted)
    assert float(coin.chernoff()[0, 1]) == pytest.approx(-math.log(wanted))
    grid = torch.linspace(0, 1, 20_001, dtype=torch.float64)[:, None]
    a, b = ((SOURCE.laws[z] / 2).flatten() for z in (0, 1))
    least = (a**grid * b ** (1 - grid)).sum(-1).min()
    assert float(SOURCE.chernoff()[0, 1]) == pytest.approx(-math.log(float(least)), abs=1e-8)
    assert float(SOURCE.chernoff()[1, 1]) == pytest.approx(0, abs=1e-12)
    apart = Concepts.lookups(2, 2, 2, noise=0.0)
    assert math.isinf(float(apart.chernoff()[0, 1]))
    assert float(apart.error_bound(1)) == 0.0


def test_the_hellinger_bound_holds_and_is_right_for_no_examples() -> None:
    concepts, examples = some(SOURCE, 4000, 12, seed=5)
    right = SOURCE.posteriors(examples).exp().gather(-1, concepts[:, :1, None].expand(-1, 13, 1))[..., 0]
    error = 1 - right.mean(0)
    assert bool((error <= SOURCE.error_bound(torch.arange(13)) + 5 * right.std(0) / 4000**0.5).all())
    assert float(SOURCE.error_bound(0)) == pytest.approx(1.0)  # (|Z| - 1) / 2


def test_tokens_name_what_they_say() -> None:
    _, examples = some(SOURCE, 3, 4)
    tokens, targets = SOURCE.tokens(examples)
    assert tokens.shape == targets.shape == (3, 8)
    assert tokens[:, 0].tolist() == [0, 0, 0]
    assert int(tokens.max()) < SOURCE.vocabulary == 1 + 2 + 8
    assert bool((targets[:, ::2] == -1).all())
    assert bool((targets[:, 1:-1:2] == tokens[:, 2::2]).all())
    assert bool(((targets[:, 1::2] - 3) // 4 == examples.contexts).all())
    logits = torch.zeros(3, 8, SOURCE.vocabulary).scatter(-1, targets.clamp(min=0)[..., None], 9.0)
    assert bool((SOURCE.heard(logits, examples.contexts).argmax(-1) == examples.answers).all())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Concepts(even(2), even(3), torch.full((2, 2, 4), 0.25)), "laws: got 'shape"),
        (lambda: Concepts(even(2), even(2), torch.full((2, 2, 4), 0.3)), "laws: got 'weights'"),
        (lambda: Concepts(2 * even(2), even(2), torch.full((2, 2, 4), 0.25)), "prior: got 'weights'"),
        (lambda: Concepts.lookups(5, 2, 4), "latents: got 5, expected at most as many as answers, 4"),
        (lambda: Chains.random(margin=0.5), "margin: got 0.5"),
        (lambda: Chains(even(2), even(2), torch.full((3, 1, 2, 2), 0.5)), "steps: got 'shape"),
        (lambda: shares(torch.zeros(2, 3), torch.tensor([1.0, 0.0, 1.0])), "concentration"),
        (lambda: shares(torch.zeros(200, 4), torch.ones(4)), "200 examples of 4 concepts"),
    ],
)
def test_what_has_no_meaning_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        make()
    assert words in str(error.value)


# --- chains -----------------------------------------------------------------------------------------------------------


def test_chains_and_outcomes_are_products_and_sums_of_steps() -> None:
    chains = Chains.random(3, 3, families=2, seed=2)
    full, outcomes = chains.full, chains.outcomes
    for f, task, x in itertools.product(range(2), range(3), range(2)):
        sums = [0.0, 0.0]
        for number, path in enumerate(itertools.product(range(2), repeat=3)):
            chance, at = 1.0, x
            for h, z in enumerate(path):
                chance, at = chance * float(chains.steps[f, task, h, at, z]), z
            assert float(full.laws[f, task, x, number]) == pytest.approx(chance)
            assert tuple(chains.digits(torch.tensor(number)).tolist()) == path
            sums[path[-1]] += chance
        assert outcomes.laws[f, task, x].tolist() == pytest.approx(sums)
    assert bool((full.affinities() <= outcomes.affinities() + 1e-12).all())  # data processing


def test_errors_of_prompting_by_enumeration() -> None:
    source = Chains.random(4, 2, families=1, seed=6).outcomes
    one = (source.laws[0] * source.contexts[:, None]).flatten(-2)  # [theta, cell]
    wanted = list[float]()
    for n in (1, 2, 3):
        joint = one
        for _ in range(n - 1):
            joint = (joint[:, :, None] * one[:, None]).flatten(1)
        weighted = joint / len(one)
        wanted.append(1 - float((weighted.square() / weighted.sum(0)).sum()))
    found = prompting_errors(source, [1, 2, 3], Stream(1), 4000)[0]
    error = 5 * found.std(0) / 4000**0.5
    assert bool(((found.mean(0) - torch.tensor(wanted, dtype=torch.float64)).abs() < error).all())
    assert float(error.max()) < 0.01


@pytest.mark.parametrize("steps", [True, False])
def test_a_perfect_model_answers_with_the_average_over_tasks(steps: bool) -> None:
    """A model that is asked for each step by tokens, and knows all about the tasks."""
    chains = Chains.random(3, 3, families=1, seed=7)
    tasks = Chains(chains.prior, chains.inputs, chains.steps[0])
    reader = cot_error.Reader(tasks, steps)
    source = tasks.full if steps else tasks.outcomes

    def model(tokens: Tensor) -> Tensor:
        kernels = tasks.steps if steps else source.laws[:, None]
        logs = torch.full((*tokens.shape, reader.vocabulary), -50.0)
        for b, row in enumerate(tokens.tolist()):
            weights, h, at = tasks.prior.log(), 0, 0
            for i, token in enumerate(row):
                if 1 <= token <= 2:
                    h, at = 0, token - 1
                elif token:
                    h, was, at = (token - 3) // 4, (token - 3) // 2 % 2, (token - 3) % 2
                    weights = weights + kernels[:, h, was, at].log()
                    h += 1
                if token and h < reader.shown:
                    law = torch.softmax(weights, -1) @ kernels[:, h, at]
                    place = 3 + (h * 2 + at) * 2
                    logs[b, i, place : place + 2] = law.log().float()
        return logs

    truth = torch.tensor([0, 2, 1, 1])
    seen = tasks.full.draw(Stream(8), truth[:, None].expand(4, 4))
    for n in (0, 1, 3):
        examples, inputs = Examples(seen.contexts[:, :n], seen.answers[:, :n]), seen.contexts[:, n]
        last = examples.answers if steps else tasks.digits(examples.answers)[..., -1]
        posterior = source.posteriors(Examples(examples.contexts, last))[:, -1].exp()
        wanted = tasks.outcomes.predict(posterior, inputs)
        found = reader.answers(model, examples, inputs)  # type: ignore[arg-type]
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


# --- mixtures ---------------------------------------------------------------------------------------------------------


def test_shares_of_two_concepts_by_quadrature() -> None:
    likelihoods = Stream(1).uniform((3, 6, 2))
    alpha = torch.tensor([1.5, 0.7], dtype=torch.float64)
    pi = (torch.arange(100_000, dtype=torch.float64) + 0.5)[:, None] / 100_000
    density = pi**0.5 * (1 - pi) ** -0.3
    for b in range(3):
        weight = density[:, 0] * (pi * likelihoods[b, :, 0] + (1 - pi) * likelihoods[b, :, 1]).prod(-1)
        wanted = float((weight * pi[:, 0]).sum() / weight.sum())
        found = shares(likelihoods.log(), alpha)[b]
        assert float(found[0]) == pytest.approx(wanted, abs=1e-4)
        assert float(found.sum()) == pytest.approx(1)


def test_shares_of_concepts_that_never_agree_are_counted() -> None:
    said = torch.tensor([0, 2, 2, 1, 2])
    alpha = torch.tensor([0.5, 1.0, 2.0, 1.0], dtype=torch.float64)
    likelihoods = torch.nn.functional.one_hot(said, 4).double().log()
    wanted = (torch.tensor([1.0, 1.0, 3.0, 0.0], dtype=torch.float64) + alpha) / (5 + 4.5)
    torch.testing.assert_close(shares(likelihoods, alpha), wanted)


def test_shares_of_three_concepts_by_drawn_populations() -> None:
    likelihoods, alpha = Stream(2).uniform((7, 3)), torch.ones(3, dtype=torch.float64)
    pi = -Stream(3).uniform((400_000, 3)).log()
    pi = pi / pi.sum(-1, keepdim=True)
    weight = (pi @ likelihoods.T).prod(-1)
    wanted = (weight[:, None] * pi).sum(0) / weight.sum()
    torch.testing.assert_close(shares(likelihoods.log(), alpha), wanted, rtol=0, atol=0.003)
    torch.testing.assert_close(shares(likelihoods[:0], alpha), even(3))
    torch.testing.assert_close(shares(likelihoods[:, :1], alpha[:1]), torch.ones(1, dtype=torch.float64))


def test_proportions_are_found_again() -> None:
    wanted = torch.softmax(Stream(4).normal((5, 3)), -1)
    laws = SOURCE.laws[:, 0]
    torch.testing.assert_close(proportions(wanted @ laws, laws.expand(5, 3, 4)), wanted)


def test_positions_between_two_laws() -> None:
    first, second = torch.eye(4, dtype=torch.float64)[:2].expand(6, 2, 4).unbind(1)
    for share in (0.0, 0.3, 1.0):
        law = (1 - share) * first + share * second
        assert superposition.position(law, first, second).tolist() == pytest.approx([share] * 6)


# --- the studies ------------------------------------------------------------------------------------------------------


def test_the_study_of_averages_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(icl_bma.EFFORT, "quick", icl_bma.Effort(128, 64, 4, 30, 128))  # type: ignore[arg-type]
    study = icl_bma.IclBma().run("quick", lambda text: None)
    verdicts = {claim.id: claim.verdict for claim in study.claims}
    assert {verdicts[name] for name in ("bma-bound", "bma-identity", "bma-rate", "decoder-bound")} == {"holds"}
    assert {row["predictor"] for row in study.data} == {"exact", "decoder"}


def test_the_study_of_chains_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cot_error.EFFORT, "quick", cot_error.Effort(8, 24, 384, 20, 3, 64))  # type: ignore[arg-type]
    study = cot_error.CotError().run("quick", lambda text: None)
    verdicts = {claim.id: claim.verdict for claim in study.claims}
    exact = ("chains-below-16", "chains-bound", "outcomes-bound", "data-processing", "rate-of-chains")
    assert {verdicts[name] for name in exact} == {"holds"}
    assert len(study.charts) == 2


def test_the_study_of_mixtures_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(superposition.EFFORT, "quick", superposition.Effort(20, 32, 512))  # type: ignore[arg-type]
    study = superposition.Superposition().run("quick", lambda text: None)
    verdicts = {claim.id: claim.verdict for claim in study.claims}
    assert verdicts["population-loss"] == "holds"
    assert verdicts["one-task-learned"] == "fails"  # after twenty steps
    assert len({row["predictor"] for row in study.data}) == 4
