"""Graphons and what they do to a population: z(x) = int_0^1 W(x, y) mu(y) dy, on a grid with quadrature weights.

A graphon W: [0,1]^2 -> [0,1] is symmetric. On a grid of k positions it becomes an *operator* on columns [..., k, c]:

    dense        k^2      any W
    low rank     2 k r    W = sum_r u_r(x) v_r(y): ranked attachment, power laws, and any smooth W numerically
    step         k + K^2  W constant on blocks: Erdos-Renyi, stochastic block models, networks averaged over blocks
    prefix sum   ~3 k     W = u(min(x, y)) v(max(x, y)): uniform attachment
    sparse       edges    one position per node of a large network

All give the same aggregate to rounding. Weights sum to one and are part of the operator.

Sources: Cui and Koeppl, "Learning graphon mean field games and approximate Nash equilibria", ICLR 2022 (uniform and
ranked attachment, Erdos-Renyi); Fabian, Cui and Koeppl, "Learning sparse graphon mean field games", AISTATS 2023 (power
laws, which are L^p graphons and exceed 1); Zhang, Tan, Wang and Yang, arXiv 2310.17531 and 2310.08089 (exp, blocks).
"""

from gamesim.graphons.empirical import Empirical
from gamesim.graphons.families import (
    BlockGraphon,
    CutoffPowerLaw,
    ErdosRenyi,
    Exponential,
    Legendre,
    PowerLaw,
    RankedAttachment,
    StochasticBlock,
    UniformAttachment,
)
from gamesim.graphons.graphon import FunctionGraphon, Graphon, require_graphon, separate
from gamesim.graphons.grids import Grid, Rule, interpolate, quadrature
from gamesim.graphons.operators import Dense, Form, LowRank, Operator, PrefixSum, Sparse, Step

__all__ = [
    "BlockGraphon",
    "CutoffPowerLaw",
    "Dense",
    "Empirical",
    "ErdosRenyi",
    "Exponential",
    "Form",
    "FunctionGraphon",
    "Graphon",
    "Grid",
    "Legendre",
    "LowRank",
    "Operator",
    "PowerLaw",
    "PrefixSum",
    "RankedAttachment",
    "Rule",
    "Sparse",
    "Step",
    "StochasticBlock",
    "UniformAttachment",
    "interpolate",
    "quadrature",
    "require_graphon",
    "separate",
]
