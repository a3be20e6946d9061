"""Softmax, nucleus and draws of whole batches, to the rounding of a sum: row by row against plain loops."""

import math

import pytest
import torch

from gamesim import simplex
from gamesim.randomness import Stream
from gamesim.simplex import FEW, TIE
from refusals import f64

WIDEST = 64
"""Of a row that the compiled loop takes."""


@pytest.mark.parametrize("n", [1, 2, FEW, FEW + 1, WIDEST, WIDEST + 1])
@pytest.mark.parametrize("differentiated", [False, True], ids=["numbers", "with gradients"])
def test_softmax_of_scores_far_apart(n: int, differentiated: bool) -> None:
    scores = 3 * Stream(n).normal((2, 3, n))
    scores[0, 0] += 1e4  # exp(1e4) is no number
    scores[0, 1] -= 1e4
    scores[1, 2, 0] -= 2e4
    found = simplex.softmax(scores.requires_grad_(differentiated)).detach()
    assert found.shape == (2, 3, n)
    for i in range(2):
        for j in range(3):
            y = scores[i, j].tolist()
            weights = [math.exp(a - max(y)) for a in y]
            assert found[i, j].tolist() == pytest.approx([w / sum(weights) for w in weights], rel=1e-11, abs=1e-300)


def test_of_equals_the_first_are_kept() -> None:
    law = torch.full((2, 100), 0.01, dtype=torch.float64)
    for p, many in ((0.305, 31), (0.3, 30), (1.0, 100), (0.001, 1), (0.0, 1)):
        assert simplex.nucleus(law, p)[1].tolist() == pytest.approx([1 / many] * many + [0.0] * (100 - many))
    unlike = torch.cat([law[0] / 2, f64(0.5)])
    assert simplex.nucleus(unlike, 0.6).nonzero().flatten().tolist() == [*range(20), 100]


def test_sums_that_lack_no_more_than_rounding_are_enough() -> None:
    tenths = torch.full((10,), 0.1, dtype=torch.float64)
    for k in range(1, 11):  # 8 times 0.1 is 0.7999999999999999
        assert int((simplex.nucleus(tenths, k / 10) > 0).sum()) == k
    quarters = torch.full((4,), 0.25, dtype=torch.float64)
    for lack, kept in ((0.0, 1), (0.5 * TIE, 1), (TIE, 1), (1.5 * TIE, 2), (-1.5 * TIE, 1)):
        assert int((simplex.nucleus(quarters, 0.25 + lack) > 0).sum()) == kept


def test_draws_of_a_batch_are_row_by_row() -> None:
    law = torch.softmax(Stream(1).normal((2, 3, 5)), -1)
    law[1, 1] = f64(0.0, 0.5, 0.0, 0.5, 0.0)
    u = Stream(2).uniform((2, 3))
    u[1, 1], u[0, 2] = 0.5, 1.0
    found = simplex.drawn(law, u)
    assert (found.shape, found.dtype) == ((2, 3), torch.long)
    for i in range(2):
        for j in range(3):
            total, wanted = 0.0, None
            for a, p in enumerate(law[i, j].tolist()):
                total += p
                if wanted is None and float(u[i, j]) < total:
                    wanted = a
            assert int(found[i, j]) == (4 if wanted is None else wanted)
    assert int(found[1, 1]) == 3
    many = simplex.drawn(law[0], Stream(3).uniform((7, 4, 3)))
    assert many.shape == (7, 4, 3)
    assert int(simplex.drawn(law[0, 0], torch.tensor(1.0).double())) == 4
