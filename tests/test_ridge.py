"""Ridge and kernel ridge regression: scikit-learn, closed forms, brute force, the primal against the kernel form."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gamesim.errors import InvalidInput
from gamesim.estimation.kernel_ridge import KernelRidge
from gamesim.estimation.ridge import (
    Moments,
    choose_penalty,
    generalised_error,
    penalty_grid,
    solve_ridge,
    squared_error,
    validation_error,
)
from gamesim.randomness import Stream

GRID = torch.logspace(-4, 2, 9, dtype=torch.float64)


def drawn(n: int = 40, d: int = 3, c: int = 2, batch: tuple[int, ...] = (), seed: int = 0) -> tuple[Tensor, ...]:
    """Rows x[..., n, d], noisy smooth y[..., n, c] and weights[..., n]."""
    stream = Stream(seed)
    x = stream.normal((*batch, n, d))
    y = torch.sin(x @ stream.normal((d, c))) + 0.3 * stream.normal((*batch, n, c)) + 5
    return x, y, 0.2 + stream.uniform((*batch, n))


def with_one(x: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(x[..., :1]), x], -1)


def close(ours: Tensor, theirs: Any, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), np.asarray(theirs), rtol=rtol, atol=1e-10)


# ---- against scikit-learn ----


@pytest.mark.parametrize("intercept", [True, False])
def test_ridge_is_that_of_scikit_learn(intercept: bool) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    x, y, w = drawn()
    fit = solve_ridge(Moments.of(with_one(x) if intercept else x, y, w), 0.7, intercept=intercept)
    theirs = linear_model.Ridge(alpha=0.7, fit_intercept=intercept).fit(x.numpy(), y.numpy(), w.numpy())
    close(fit.coefficients[1:] if intercept else fit.coefficients, theirs.coef_.T)
    close(fit.predict(with_one(x) if intercept else x), theirs.predict(x.numpy()))


def test_folds_choose_the_penalty_that_grid_search_chooses() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    model_selection = pytest.importorskip("sklearn.model_selection")
    x, y, _ = drawn(30, 6, 1, seed=3)
    y = x.sum(-1, keepdim=True) + 4 * (y - 5)
    search = model_selection.GridSearchCV(
        linear_model.Ridge(), {"alpha": GRID.tolist()}, cv=model_selection.KFold(5), scoring="neg_mean_squared_error"
    ).fit(x.numpy(), y.numpy())
    folds = Moments.of(with_one(x).reshape(5, 6, 7), y.reshape(5, 6, 1))
    chosen = choose_penalty(folds, GRID)
    close(chosen.errors / 30, -search.cv_results_["mean_test_score"])
    assert float(chosen.penalty) == search.best_params_["alpha"]
    assert not bool(chosen.at_edge)


def test_generalised_validation_agrees_with_the_hat_matrix() -> None:
    x, y, _ = drawn(25, 4, 2, seed=5)
    phi = with_one(x)
    chosen = choose_penalty(Moments.of(phi, y), GRID, by="generalised")
    wanted = []
    for lam in GRID:
        penalty = lam * torch.diag(torch.tensor([0.0, 1, 1, 1, 1], dtype=torch.float64))
        hat = phi @ torch.linalg.inv(phi.mT @ phi + penalty) @ phi.mT
        wanted.append(((y - hat @ y) ** 2).sum() / (1 - hat.trace() / 25) ** 2)
        close(solve_ridge(Moments.of(phi, y), lam).freedom, hat.trace())
    close(chosen.errors, torch.stack(wanted))
    assert float(chosen.penalty) == float(GRID[int(torch.stack(wanted).argmin())])


@pytest.mark.parametrize("kernel", ["gaussian", "linear", "polynomial"])
def test_kernel_ridge_is_that_of_scikit_learn(kernel: Any) -> None:
    kernel_ridge = pytest.importorskip("sklearn.kernel_ridge")
    x, y, w = drawn()
    fresh = drawn(seed=9)[0]
    width = 1.7
    names = {"gaussian": ("rbf", 1 / (2 * width**2)), "linear": ("linear", None), "polynomial": ("poly", 1 / width**2)}
    name, gamma = names[kernel]
    b = 1.0 if kernel == "linear" else width
    ours = KernelRidge(kernel, penalty=0.3, bandwidth=b, degree=2, offset=1.0, intercept=False).fit(x, y, weights=w)
    theirs = kernel_ridge.KernelRidge(alpha=0.3, kernel=name, gamma=gamma, degree=2, coef0=1.0)
    theirs.fit(x.numpy(), y.numpy(), sample_weight=w.numpy())
    close(ours.predict(fresh), theirs.predict(fresh.numpy()))


# ---- closed forms and identities ----


def test_least_squares_at_penalty_zero_and_the_mean_at_a_huge_one() -> None:
    x, y, w = drawn()
    moments = Moments.of(with_one(x), y, w)
    root = w.sqrt()[:, None].numpy()
    close(solve_ridge(moments, 0.0).coefficients, np.linalg.lstsq(root * with_one(x).numpy(), root * y.numpy())[0])
    heavy = solve_ridge(moments, 1e14)
    close(heavy.coefficients[0], (w[:, None] * y).sum(0) / w.sum())
    assert float(heavy.coefficients[1:].abs().max()) < 1e-11
    assert float(heavy.freedom) == pytest.approx(1)
    assert float(solve_ridge(moments, 0.0).freedom) == pytest.approx(4)
    fit = solve_ridge(moments, 0.4)
    close(squared_error(moments, fit.coefficients), (w[:, None] * (y - fit.predict(with_one(x))) ** 2).sum())


@pytest.mark.parametrize("penalty", [1e-8, 1.0, 1e6])
def test_targets_that_sum_to_one_are_fitted_so(penalty: float) -> None:
    x, y, w = drawn(c=4)
    laws = torch.softmax(y, -1)
    rows = solve_ridge(Moments.of(with_one(x), laws, w), penalty).predict(with_one(10 * x)).sum(-1)
    torch.testing.assert_close(rows, torch.ones(40, dtype=torch.float64), rtol=0, atol=1e-13)
    kernel = KernelRidge(penalty=penalty).fit(x, laws, weights=w).predict(10 * x).sum(-1)
    torch.testing.assert_close(
        kernel, torch.ones(40, dtype=torch.float64), rtol=0, atol=1e-7 if penalty < 1e-4 else 1e-13
    )


@pytest.mark.parametrize("intercept", [True, False])
def test_a_linear_kernel_is_the_primal_form(intercept: bool) -> None:
    x, y, w = drawn()
    primal = solve_ridge(Moments.of(with_one(x) if intercept else x, y, w), 0.5, intercept=intercept)
    kernel = KernelRidge("linear", penalty=0.5, intercept=intercept).fit(x, y, weights=w)
    close(kernel.predict(x + 1), primal.predict(with_one(x + 1) if intercept else x + 1))


def test_a_quadratic_kernel_is_ridge_on_its_features() -> None:
    x, y, _ = drawn(d=1, c=1)
    features = torch.cat([torch.ones_like(x), 2**0.5 * x, x**2], -1)  # <phi, phi'> = (x x' + 1)^2
    primal = solve_ridge(Moments.of(features, y), 0.5, intercept=False)
    close(
        KernelRidge("polynomial", penalty=0.5, degree=2, intercept=False).fit(x, y).predict(x), primal.predict(features)
    )


def test_cells_share_nothing() -> None:
    x, y, w = drawn(60)
    cells = (Stream(4).uniform((60,)) * 3).long()
    together = KernelRidge(penalty=0.1, bandwidth=1.0).fit(x, y, weights=w, cells=cells)
    for cell in range(3):
        here = cells == cell
        alone = KernelRidge(penalty=0.1, bandwidth=1.0).fit(x[here], y[here], weights=w[here])
        close(together.predict(x, torch.full((60,), cell)), alone.predict(x))


def test_the_median_heuristic() -> None:
    x, y, _ = drawn(15)
    distances = np.sort([float((x[i] - x[j]).norm()) for i in range(15) for j in range(i)])
    assert float(KernelRidge().fit(x, y).bandwidth) == pytest.approx(distances[(len(distances) - 1) // 2])


def left_out(model: KernelRidge, x: Tensor, y: Tensor, w: Tensor, cells: Tensor | None, fold: Tensor) -> float:
    """The definition: fit without a fold, predict it."""
    error = 0.0
    for f in fold.unique():
        here = fold == f
        kept = {"weights": w[~here], "cells": None if cells is None else cells[~here]}
        guess = model.fit(x[~here], y[~here], **kept).predict(x[here], None if cells is None else cells[here])
        error += float((w[here][:, None] * (y[here] - guess) ** 2).sum())
    return error


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("split", [False, True])
def test_what_is_left_out_has_the_closed_form(intercept: bool, split: bool) -> None:
    x, y, w = drawn(24, seed=2)
    cells = (torch.arange(24) % 2) if split else None
    penalties, widths = torch.tensor([0.01, 1.0]).double(), torch.tensor([0.5, 2.0, 4.0]).double()
    model = KernelRidge(intercept=intercept)
    for by in ("leave-one-out", 4):
        errors = model.errors(x, y, penalties, widths, by=by, weights=w, cells=cells, seed=3)  # type: ignore[arg-type]
        fold = torch.arange(24) if by != 4 else Stream(3, 2**32 - 35).uniform((24,)).argsort().argsort() % 4
        for p, penalty in enumerate(penalties.tolist()):
            for q, width in enumerate(widths.tolist()):
                one = KernelRidge(penalty=penalty, bandwidth=width, intercept=intercept)
                assert float(errors[p, q]) == pytest.approx(left_out(one, x, y, w, cells, fold), rel=1e-8)
        tuned = model.tuned(x, y, penalties=penalties, bandwidths=widths, by=by, weights=w, cells=cells, seed=3)  # type: ignore[arg-type]
        best = divmod(int(errors.argmin()), 3)
        assert (float(tuned.penalty), float(tuned.bandwidth or 0)) == (
            float(penalties[best[0]]),
            float(widths[best[1]]),
        )


def test_the_only_row_of_a_cell_is_not_judged() -> None:
    x, y, _ = drawn(9)
    cells = torch.tensor([0] * 8 + [1])
    grids = torch.tensor([0.1]).double(), torch.tensor([1.0]).double()
    close(KernelRidge().errors(x, y, *grids, cells=cells), KernelRidge().errors(x[:8], y[:8], *grids))


def test_tuning_by_its_own_grids_beats_the_untuned_on_fresh_data() -> None:
    """Over 8 data sets in one batch: the mean squared error falls, by more than three standard errors."""
    x, y, _ = drawn(50, 1, 1, batch=(8,), seed=6)
    x, fresh = 3 * x, 3 * drawn(200, 1, 1, batch=(8,), seed=7)[0]
    y, truth = torch.sin(x) + 0.3 * (y - y.mean()), torch.sin(fresh)
    plain, model = KernelRidge(penalty=10.0), KernelRidge().tuned(x, y)
    gain = [((m.fit(x, y).predict(fresh) - truth) ** 2).mean((1, 2)) for m in (plain, model)]
    difference = gain[0] - gain[1]
    assert float(difference.mean()) > 3 * float(difference.std()) / 8**0.5 > 0


# ---- batches and gradients ----


def test_a_batch_is_its_members_one_by_one() -> None:
    x, y, w = drawn(20, batch=(3,))
    lam = torch.tensor([0.01, 1.0, 10.0]).double()
    moments = Moments.of(with_one(x), y, w)
    fit = solve_ridge(moments, lam)
    folds = Moments.of(*(part.reshape(3, 4, 5, -1).transpose(0, 1) for part in (with_one(x), y)))
    choice = choose_penalty(folds)
    model = KernelRidge(penalty=lam, bandwidth=torch.tensor([0.5, 1.0, 2.0]).double())
    kernel, tuned, counted = model.fit(x, y, weights=w), KernelRidge().tuned(x, y), KernelRidge().tuned(x, y, by=5)
    for i in range(3):
        one = solve_ridge(Moments.of(with_one(x[i]), y[i], w[i]), float(lam[i]))
        close(fit.coefficients[i], one.coefficients)
        close(fit.condition[i], one.condition)
        close(fit.freedom[i], one.freedom)
        close(choice.penalty[i], choose_penalty(Moments(*(part[:, i] for part in folds.parts))).penalty)
        single = KernelRidge(penalty=float(lam[i]), bandwidth=[0.5, 1.0, 2.0][i]).fit(x[i], y[i], weights=w[i])
        close(kernel.predict(x)[i], single.predict(x[i]))
        close(kernel.condition[i], single.condition)
        for batch, by in ((tuned, "leave-one-out"), (counted, 5)):
            # the default penalties are relative to the mean diagonal, which is 1 for a Gaussian kernel
            alone = KernelRidge().tuned(x[i], y[i], by=by)  # type: ignore[arg-type]
            assert isinstance(batch.penalty, Tensor)
            assert isinstance(batch.bandwidth, Tensor)
            close(batch.penalty[i], alone.penalty)
            close(batch.bandwidth[i], alone.bandwidth)
    shared = choose_penalty(folds, GRID, shared=True)
    assert float(shared.penalty) == float(GRID[int(validation_error(folds, GRID).sum(1).argmin())])


def test_gradients_pass() -> None:
    x, y, w = (part.requires_grad_() for part in drawn(8, 2, 2))
    lam = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def primal(x: Tensor, y: Tensor, w: Tensor, lam: Tensor) -> Tensor:
        return solve_ridge(Moments.of(with_one(x), y, w), lam).coefficients

    def dual(x: Tensor, y: Tensor, w: Tensor, lam: Tensor) -> Tensor:
        return KernelRidge(penalty=lam, bandwidth=1 + lam).fit(x, y, weights=w).predict(x.mT.mT + 1)

    def judged(x: Tensor, y: Tensor) -> Tensor:
        return validation_error(Moments.of(with_one(x).reshape(2, 4, 3), y.reshape(2, 4, 2)), GRID)

    assert torch.autograd.gradcheck(primal, (x, y, w, lam))
    assert torch.autograd.gradcheck(dual, (x, y, w, lam))
    assert torch.autograd.gradcheck(judged, (x, y))


# ---- what is missing, and what is refused ----


def test_a_system_without_data_is_zero_and_says_so() -> None:
    x, y, w = drawn(20, batch=(2,))
    w[1] = 0
    fit = solve_ridge(Moments.of(with_one(x), y, w), 0.1)
    assert fit.empty.tolist() == [False, True]
    assert not fit.coefficients[1].any()
    assert fit.freedom[1] == 0
    assert fit.condition[1] == torch.inf
    folds = Moments.of(with_one(x).reshape(2, 4, 5, 4).transpose(0, 1), y.reshape(2, 4, 5, 2).transpose(0, 1))
    gone = Moments(*(part * torch.tensor([1.0, 0.0]).reshape(2, *[1] * (part.dim() - 2)) for part in folds.parts))
    for by, data in (("folds", gone), ("generalised", gone.pooled())):
        chosen = choose_penalty(data, by=by)  # type: ignore[arg-type]
        alone = choose_penalty(
            Moments(*(part[:, 0] if by == "folds" else part[0] for part in data.parts)),
            by=by,  # type: ignore[arg-type]
        )
        close(chosen.penalty[0], alone.penalty)


def test_one_row_one_feature_and_none() -> None:
    one = torch.ones(1, 1, dtype=torch.float64)
    fit = solve_ridge(Moments.of(one, 3 * one), 0.0)  # an intercept and nothing else
    assert float(fit.coefficients) == 3
    assert float(fit.condition) == float(fit.freedom) == 1
    assert float(KernelRidge(bandwidth=1.0).fit(one, 3 * one).predict(one)) == pytest.approx(3)


def test_single_precision_is_kept() -> None:
    x, y, _ = (part.float() for part in drawn())
    model = KernelRidge().tuned(x, y)
    close(model.fit(x, y).predict(x).double(), model.fit(x.double(), y.double()).predict(x.double()), rtol=1e-3)
    assert model.fit(x, y).predict(x).dtype == torch.float32
    assert solve_ridge(Moments.of(with_one(x), y), 0.1).coefficients.dtype == torch.float32


def test_collinear_features_need_a_penalty_and_say_so() -> None:
    x, y, _ = drawn()
    moments = Moments.of(torch.cat([with_one(x), 1 - x[:, :1]], -1), y)
    with pytest.raises(InvalidInput, match=r"penalty: got 0.0, expected a larger one: .* collinear"):
        solve_ridge(moments, 0.0)
    assert float(solve_ridge(moments, 1e-6).condition) > 1e6
    assert float(generalised_error(moments, torch.tensor([0.0, 1.0]).double())[0]) == torch.inf
    assert len(penalty_grid(moments)) == 21


X, Y, _W = drawn(6)
FOLDS = Moments.of(with_one(X).reshape(2, 3, 4), Y.reshape(2, 3, 2))
BAD: dict[str, tuple[Any, str]] = {
    "negative penalty": (lambda: solve_ridge(FOLDS, -1.0), "penalty: got -1.0, expected a number of at least 0"),
    "nan penalty": (lambda: solve_ridge(FOLDS, float("nan")), "penalty: got nan"),
    "no rows": (lambda: Moments.of(X[:0], Y[:0]), "features: got 'no rows'"),
    "unequal rows": (lambda: Moments.of(X, Y[:3]), r"features, targets: got \(\[6, 3\], \[3, 2\]\)"),
    "nan feature": (lambda: Moments.of(X / 0 * 0, Y), r"features\[0, 0\]: got nan, expected a finite number"),
    "negative weight": (lambda: Moments.of(X, Y, -torch.ones(6)), "weights: got -1"),
    "weights of another length": (lambda: Moments.of(X, Y, torch.ones(5)), r"weights: got \[5\]"),
    "all weights zero": (lambda: Moments.of(X, Y, torch.zeros(6)), "weights: got 'nothing but 0'"),
    "one fold": (lambda: choose_penalty(Moments.of(X[None], Y[None])), r"folds: got \[1\], expected at least 2"),
    "unknown criterion": (lambda: choose_penalty(FOLDS, by="aic"), "by: got 'aic', expected folds or generalised"),  # type: ignore[arg-type]
    "only singular": (lambda: choose_penalty(FOLDS, torch.zeros(1)), "penalties: got '0 to 0', expected larger ones"),
    "bandwidth zero": (lambda: KernelRidge(bandwidth=0.0), "bandwidth: got 0.0, expected a number above 0"),
    "bandwidth nan": (lambda: KernelRidge(bandwidth=float("nan")), "bandwidth: got nan"),
    "kernel penalty": (lambda: KernelRidge(penalty=-2.0), "penalty: got -2"),
    "kernel": (lambda: KernelRidge("cosine"), "kernel: got 'cosine', expected gaussian, linear or polynomial"),  # type: ignore[arg-type]
    "degree": (lambda: KernelRidge(degree=0), "degree: got 0"),
    "all rows agree": (lambda: KernelRidge().fit(X * 0, Y), "bandwidth: got 'a median distance of 0"),
    "nan target": (lambda: KernelRidge().fit(X, Y * float("nan")), r"targets\[0, 0\]: got nan"),
    "real cells": (lambda: KernelRidge().fit(X, Y, cells=torch.zeros(6)), "cells: got 'torch.float32"),
    "duplicates": (
        lambda: KernelRidge(penalty=0.0, bandwidth=1.0).fit(X * 0, Y),
        "penalty: got 0.0, expected a larger",
    ),
    "too many rows": (
        lambda: KernelRidge().fit(torch.zeros(20_000, 1), torch.zeros(20_000, 1)),
        r"features: got \[1, 20000\]",
    ),
    "one fold of rows": (lambda: KernelRidge().tuned(X, Y, by=1), "by: got 1, expected leave-one-out, or 2 to 6"),
    "no cells": (lambda: fitted().predict(X), "cells: got None"),
    "unseen cell": (lambda: fitted().predict(X, torch.ones(6).long()), "cells: got 1, expected a cell that had data"),
    "cell out of range": (lambda: fitted().predict(X, torch.full((6,), 7)), "cells: got 7"),
    "other features": (lambda: KernelRidge().fit(X, Y).predict(X[:, :1]), r"features: got \[6, 1\]"),
    "a cell in one fold": (
        lambda: KernelRidge().tuned(X, Y, by=2, cells=torch.tensor([0, 0, 0, 0, 0, 1])),
        "by: got 2, expected leave-one-out: a cell",
    ),
}


def fitted() -> Any:
    return KernelRidge().fit(X, Y, cells=torch.tensor([0, 0, 0, 2, 2, 2]))


@pytest.mark.parametrize("case", BAD)
def test_refusals_name_the_field(case: str) -> None:
    call, words = BAD[case]
    with pytest.raises(InvalidInput, match=words) as refusal:
        call()
    assert "\n" not in str(refusal.value)
