"""Statistics of chains: methods with a constant step and noise do not converge, their law does.

For iterates x_t of such a method with step g there is a unique stationary law pi_g, and

    law of large numbers     (1/T) sum_t x_t -> E_{pi_g} x
    central limit            sqrt(T) ((1/T) sum_t x_t - E_{pi_g} x) -> N(0, Sigma_g)
    bias                     E_{pi_g} x - x* = g Delta + o(g)

`average` gives long-run averages with intervals, `split_r_hat` says whether chains have mixed, `run_chains` makes long
chains of many seeds and step sizes with common random numbers, `bias_ladder` measures the bias over step sizes and
extrapolates it away, `leading_bias` and `limit_covariance` say what theory predicts.

Vlatakis-Gkaragkounis, Giannou, Chen and Xie, "Stochastic methods in variational inequalities: ergodicity, bias and
refinements", AISTATS 2024.
"""

from gamesim.ergodic.averages import Average, average, long_run_variance, split_r_hat
from gamesim.ergodic.chains import Chains, run_chains
from gamesim.ergodic.expansion import leading_bias, limit_covariance, stationary_covariance
from gamesim.ergodic.ladder import Ladder, bias_ladder
from gamesim.ergodic.richardson import richardson_romberg, richardson_weights

__all__ = [
    "Average",
    "Chains",
    "Ladder",
    "average",
    "bias_ladder",
    "leading_bias",
    "limit_covariance",
    "long_run_variance",
    "richardson_romberg",
    "richardson_weights",
    "run_chains",
    "split_r_hat",
    "stationary_covariance",
]
