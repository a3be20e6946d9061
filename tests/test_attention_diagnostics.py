"""Diagnostics of attention: probabilities, sinks, effective numbers, selected tokens, gains; by loops and programs."""

import math
from typing import Any

import pytest
import torch
from scipy.stats import entropy
from torch import Tensor

from gamesim.attention import Layout, set_attention
from gamesim.attention.diagnostics import attention_weights, effective_number, received, sinks
from gamesim.attention.gains import attention, bound, draw_stack, gain, into_ball, layer_ratio, outputs
from gamesim.attention.plain import by_row, by_set
from gamesim.attention.selection import best_tokens, correlation, descend, margin, max_margin, max_margin_matrix
from gamesim.errors import InvalidInput
from gamesim.experiments import attention_sink_in_sets as sink_study
from gamesim.experiments import n_free_lipschitz as gain_study
from gamesim.randomness import Stream

LAYOUT = Layout.of([3, 0, 5, 1])


def rows(*shape: int, seed: int = 0) -> Tensor:
    return Stream(seed).normal(shape)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "softmax"},
        {"kind": "sigmoid"},
        {"kind": "sigmoid", "bias": 0.3},
        {"kind": "topk", "top": 2},
        {"kind": "linear"},
        {"kind": "softmax", "sink": torch.tensor([0.5, -1.0], dtype=torch.float64)},
        {"kind": "softmax", "mask": torch.arange(9) % 3 == 1},
    ],
    ids=["softmax", "sigmoid", "bias", "topk", "linear", "sink", "mask"],
)
def test_weights_times_values_are_what_attention_gives(options: dict[str, Any]) -> None:
    q, k, v = (rows(2, 9, 2, 4, seed=s) for s in range(3))
    weights = attention_weights(q, k, LAYOUT, **options)
    assert weights.shape == (2, 4, 2, 5, 5)
    torch.testing.assert_close(
        by_row(weights @ by_set(v, LAYOUT), LAYOUT), set_attention(q, k, v, cu_q=LAYOUT, path="plain", **options)
    )


def test_weights_and_what_tokens_receive_by_a_loop_over_sets() -> None:
    q, k = rows(9, 2, 4), rows(9, 2, 4, seed=1)
    weights = attention_weights(q, k, LAYOUT)
    alpha = received(weights, LAYOUT)
    for b, (begin, end) in enumerate([(0, 3), (3, 3), (3, 8), (8, 9)]):
        n = end - begin
        for head in range(2):
            p = torch.softmax(q[begin:end, head] @ k[begin:end, head].T / 2, -1)
            torch.testing.assert_close(weights[b, head, :n, :n], p)
            torch.testing.assert_close(alpha[begin:end, head], p.mean(0))
            assert float(weights[b, head].sum()) == pytest.approx(n)
    torch.testing.assert_close(LAYOUT.sum(alpha)[[0, 2, 3]], torch.ones(3, 2, dtype=torch.float64))


def test_queries_and_keys_may_be_of_other_rows() -> None:
    few = Layout.of([1, 1, 2, 0])
    weights = attention_weights(rows(4, 1, 3), rows(9, 1, 3), few, LAYOUT)
    alpha = received(weights, few, LAYOUT)
    assert weights.shape == (4, 1, 2, 5)
    assert alpha.shape == (9, 1)
    torch.testing.assert_close(LAYOUT.sum(alpha)[:, 0], torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64))


def test_a_sink_that_was_put_on_a_type_is_found_there_and_a_slot_takes_it_away() -> None:
    layout = Layout.of([4, 6])
    types = torch.tensor([0, 0, 0, 1, 0, 0, 0, 0, 0, 1])
    q, k = 0.1 * rows(10, 2, 4), 0.1 * rows(10, 2, 4, seed=1)
    q[..., 0] = 4.0
    k[types == 1, 0, 0] = 4.0  # the first head alone
    score = sinks(received(attention_weights(q, k, layout), layout), layout, types)
    assert score.by_head().tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert score.score().tolist() == [0.0, 0.5]
    assert float(score.strongest[0, 1]) > 0.9
    torch.testing.assert_close(score.mass.sum(-1), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(score.share[0], torch.tensor([(3 / 4 + 5 / 6) / 2, (1 / 4 + 1 / 6) / 2]).double())
    slot = torch.tensor([12.0, -math.inf], dtype=torch.float64)
    taken = attention_weights(q, k, layout, sink=slot)
    assert sinks(received(taken, layout), layout, types).score().tolist() == [0.0, 0.0]
    back = received(taken, layout, normalized=True)
    torch.testing.assert_close(back, received(attention_weights(q, k, layout), layout))


def test_scores_by_place_tell_a_set_from_a_sequence() -> None:
    """Attention to the first row, whatever it is, is no function of a set: Sink_eps of Gu et al. at place 0 is 1."""
    layout = Layout.repeated(5, 400)
    x = rows(2000, 1, 4)
    fair = sinks(received(attention_weights(x, x, layout), layout), layout, layout.places)
    assert float(fair.strongest.max() - fair.strongest.min()) < 0.1
    bias = torch.where(layout.places == 0, 3.0, 0.0).double()
    unfair = sinks(received(attention_weights(x, x, layout, key_bias=bias), layout), layout, layout.places)
    assert unfair.score().tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_effective_numbers_are_those_of_scipy_and_count_equal_shares() -> None:
    q, k = rows(9, 2, 4), rows(9, 2, 4, seed=1)
    weights = attention_weights(q, k, LAYOUT, kind="sigmoid")
    number, other = (effective_number(weights, LAYOUT, measure=m) for m in ("entropy", "participation"))
    assert number.shape == (9, 2)
    for i in range(5):
        p = weights[2, 1, i]
        assert float(number[3 + i, 1]) == pytest.approx(float(torch.tensor(entropy(p)).exp()))
        assert float(other[3 + i, 1]) == pytest.approx(float(p.sum() ** 2 / p.square().sum()))
    assert bool((other <= number + 1e-12).all())
    alike = effective_number(attention_weights(0 * q, k, LAYOUT), LAYOUT)
    torch.testing.assert_close(alike[:, 0], LAYOUT.sizes.repeat_interleave(LAYOUT.sizes).double())
    blind = attention_weights(q[:3], k[:0], Layout.of([3]), Layout.of([0]))
    assert effective_number(blind, Layout.of([3])).tolist() == [[0.0, 0.0]] * 3


def test_bad_groups_and_measures_are_refused() -> None:
    weights = attention_weights(rows(9, 1, 2), rows(9, 1, 2), LAYOUT)
    alpha = received(weights, LAYOUT)
    for groups in (torch.zeros(8, dtype=torch.long), torch.zeros(9), torch.full((9,), -1)):
        with pytest.raises(InvalidInput, match="groups"):
            sinks(alpha, LAYOUT, groups)
    with pytest.raises(InvalidInput, match="measure"):
        effective_number(weights, LAYOUT, measure="gini")  # type: ignore[arg-type]


# --- which token is selected ------------------------------------------------------------------------------------------


def test_of_two_tokens_the_margin_lies_along_their_difference() -> None:
    x = torch.tensor([[1.0, 2.0], [0.0, -1.0]], dtype=torch.float64)
    p = max_margin(x, torch.tensor([0]), Layout.of([2]))
    difference = x[0] - x[1]
    torch.testing.assert_close(p, difference / difference.square().sum(), rtol=1e-6, atol=1e-8)
    assert float(margin(x, torch.tensor([0]), Layout.of([2]), p)) == pytest.approx(1 / float(p.norm()))


def test_descent_ends_in_the_direction_of_the_program() -> None:
    """One set: from anywhere to the best token. Instances are one batch; tokens on a sphere can all be separated."""
    layout, count = Layout.of([4]), 6
    tokens = rows(count, 4, 3)
    tokens = tokens / tokens.norm(dim=-1, keepdim=True)
    scores = (tokens * rows(count, 1, 3, seed=5)).sum(-1)
    best = best_tokens(scores, layout)
    found = descend(tokens, scores, layout, steps=8000, every=2000)
    programs = torch.stack([max_margin(x, opt, layout) for x, opt in zip(tokens, best, strict=True)])
    cosines = correlation(found, programs)
    assert float(cosines[-1].min()) > 0.995
    assert float(cosines[-1].mean()) > float(cosines[0].mean())
    for x, opt, p, q in zip(tokens, best, found[-1], programs, strict=True):
        assert 0 < float(margin(x, opt, layout, p)) <= float(margin(x, opt, layout, q)) + 1e-6


def test_of_several_sets_of_other_sizes_each_constraint_counts() -> None:
    """Scores that are alike but for the best token's: descent goes to it in every set."""
    layout = Layout.of([3, 2, 4])
    tokens = rows(9, 6, seed=3)
    scores = torch.full((9,), -1.0, dtype=torch.float64)
    scores[torch.tensor([1, 4, 5])] = 1.0
    best = best_tokens(scores, layout)
    assert best.tolist() == [1, 4, 5]
    p = max_margin(tokens, best, layout)
    gaps = [(tokens[o] - tokens[t]) @ p for o, ts in ((1, (0, 2)), (4, (3,)), (5, (6, 7, 8))) for t in ts]
    assert min(map(float, gaps)) == pytest.approx(1.0, abs=1e-6)
    assert float(correlation(descend(tokens, scores, layout, steps=6000)[-1], p)) > 0.99


def test_with_queries_the_matrix_of_least_frobenius_norm_is_reached() -> None:
    layout, tokens, queries = Layout.of([3, 3]), rows(6, 3, seed=7), rows(2, 3, seed=8)
    scores = torch.full((6,), -1.0, dtype=torch.float64)
    scores[torch.tensor([0, 4])] = 1.0
    best = best_tokens(scores, layout)
    w = max_margin_matrix(tokens, queries, best, layout)
    least = max_margin_matrix(tokens, queries, best, layout, norm="nuclear")
    for found in (w, least):
        ahead = [
            ((tokens[o] - tokens[t]) @ found @ queries[b]) for b, o in ((0, 0), (1, 4)) for t in range(3 * b, 3 * b + 3)
        ]
        assert sorted(float(a) for a in ahead)[2:][0] > 1 - 1e-4  # two are 0, of the selected tokens themselves
    nuclear = torch.linalg.matrix_norm
    assert float(nuclear(least, "nuc")) <= float(nuclear(w, "nuc")) + 1e-4
    assert float(nuclear(w)) <= float(nuclear(least)) + 1e-4
    moved = descend(tokens, scores, layout, queries=queries, steps=6000)[-1]
    assert float(correlation(moved, w.flatten())) > 0.99


def test_what_no_direction_separates_is_refused() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0]], dtype=torch.float64)
    with pytest.raises(InvalidInput, match="selected"):
        max_margin(x, torch.tensor([0]), Layout.of([3]))
    with pytest.raises(InvalidInput, match="one row of each set"):
        max_margin(x, torch.tensor([3]), Layout.of([3]))
    with pytest.raises(InvalidInput, match="at least one token"):
        best_tokens(torch.zeros(3), Layout.of([3, 0]))
    with pytest.raises(InvalidInput, match="step_size"):
        descend(x, torch.zeros(3).double(), Layout.of([3]), step_size=-1.0)
    alone = max_margin(x[:1], torch.tensor([0]), Layout.of([1]))
    assert alone.tolist() == [0.0, 0.0]


# --- gains ------------------------------------------------------------------------------------------------------------


def test_the_gain_is_the_largest_directional_derivative() -> None:
    stack, x = draw_stack((3,), Stream(1), layers=2, width=4, hidden=6, norm=1.5), into_ball(rows(3, 5, 4))
    found = gain(stack, x)
    small = 1e-6
    best = torch.zeros(3, dtype=torch.float64)
    for seed in range(40):
        moved = draw_stack((3,), Stream(100 + seed), layers=2, width=4, hidden=6)
        other = type(stack)(stack.score + small * moved.score, stack.value + small * moved.value, *vars_of(stack))
        best = torch.maximum(best, (outputs(other, x) - outputs(stack, x)).abs() / small)
    assert bool((best <= found * (1 + 1e-4)).all())
    score, value = stack.score.requires_grad_(), stack.value.requires_grad_()
    gradients = torch.autograd.grad(outputs(stack, x).sum(), (score, value))
    parts = [torch.linalg.svd(d, full_matrices=False) for d in gradients]
    steps = [u @ vh for u, _, vh in parts]
    with torch.no_grad():
        there = type(stack)(score + small * steps[0], value + small * steps[1], *vars_of(stack))
        rise = (outputs(there, x) - outputs(stack, x)) / small
    torch.testing.assert_close(rise, found, rtol=1e-4, atol=1e-6)


def vars_of(stack: Any) -> tuple[Tensor, ...]:
    return stack.inner, stack.outer, stack.last


@pytest.mark.parametrize("attend", ["softmax", "sigmoid"])
def test_gains_stay_below_the_bound_without_n_and_a_sum_multiplies_by_it(attend: Any) -> None:
    stack = draw_stack((4,), Stream(2), layers=2, width=4, hidden=6, norm=1.5)
    for n in (1, 2, 30):
        x = into_ball(rows(4, n, 4, seed=n))
        assert bool((gain(stack, x, attend=attend) <= bound(stack, attend)).all())
        torch.testing.assert_close(gain(stack, x, attend=attend, pool="sum"), n * gain(stack, x, attend=attend))
    with pytest.raises(InvalidInput, match="attend"):
        bound(stack, "sigmoid-plain")


def test_outputs_do_not_depend_on_the_order_of_rows_and_attention_is_that_of_the_core() -> None:
    stack, x = draw_stack((), Stream(3), layers=1, width=4, hidden=6), into_ball(rows(7, 4))
    torch.testing.assert_close(outputs(stack, x), outputs(stack, x[torch.randperm(7, generator=torch.Generator())]))
    w, v = stack.score[0], stack.value[0]
    for attend, options in (("softmax", {}), ("sigmoid", {"kind": "sigmoid"}), ("sigmoid-plain", {"kind": "sigmoid"})):
        if attend == "sigmoid-plain":
            options = {**options, "bias": 0.0}
        core: Any = set_attention
        parts = (x @ w)[:, None], x[:, None], (x @ v)[:, None]
        torch.testing.assert_close(attention(x, w, v, attend), core(*parts, scale=1.0, path="plain", **options)[:, 0])  # type: ignore[arg-type]


def test_the_inequality_of_one_layer_holds_and_is_tight() -> None:
    x, m = into_ball(10 * rows(200, 5, 3)), 3 * rows(4, 200, 3, 3, seed=1)
    ratio = layer_ratio(x, (m[0], m[1]), (m[2], m[3]))
    assert 0.05 < float(ratio.max()) <= 1
    e = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    zero, one = torch.zeros(2, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)
    assert float(layer_ratio(e, (zero, one), (1e-4 * one, one))) == pytest.approx(1.0, abs=1e-6)


def test_sets_of_the_study_lie_in_the_ball_and_ascent_never_loses() -> None:
    x = gain_study.sets(2, 3, 10)
    assert x.shape == (3, 2, 10, gain_study.WIDTH)
    assert float(x.norm(dim=-1).max()) <= 1 + 1e-6
    variant, setting = gain_study.VARIANTS[0], gain_study.SETTINGS[0]
    stack = draw_stack((2,), Stream([0, 1]), width=gain_study.WIDTH, hidden=gain_study.HIDDEN, dtype=torch.float32)

    def gains(y: Tensor) -> Tensor:
        return gain(stack, y, attend=variant.attend, pool=variant.pool, rows_in_ball=setting.rows_in_ball)

    start = gains(x[0])
    assert bool((gain_study.climbed(gains, x[0], start, 5) > start).all())


def test_networks_of_the_sink_study_are_invariant_and_log_what_is_there() -> None:
    weights, layout = sink_study.draw(2), Layout.repeated(13, 3)
    tokens, reward = sink_study.scenes(Stream([0, 1]), 2, 3)
    place = tokens[0, :13, :2]
    apart = torch.cdist(place[6:12], place[:6]).amin(-1).mean()
    assert float(reward[0, 0]) == pytest.approx(-float(apart), rel=1e-5)
    order = torch.arange(39).reshape(3, 13).flip(-1).flatten()
    for variant in sink_study.VARIANTS:
        straight, layers = sink_study.network(weights, tokens, layout, variant)
        torch.testing.assert_close(straight, sink_study.network(weights, tokens[:, order], layout, variant)[0])
        total = layers[0].sum(-1)
        limit = {"softmax": (1.0, 1.0), "softmax-slot": (0.0, 1.0), "sigmoid": (0.0, 13.0)}[variant]
        assert limit[0] - 1e-5 <= float(total.min()) <= float(total.max()) <= limit[1] + 1e-5
    watched = sink_study.train("softmax-slot", 2, 3)
    assert watched.steps == [0, 1, 2, 3]
    assert watched.over_time("score").shape == (2, 3, 4)
    assert 0 < float(watched.slot[0].min()) < 0.5
