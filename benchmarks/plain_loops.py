"""A plain twin of the way public code iterates on SIS: a quadrature for each (step, position, state, action).

Cui and Koeppl's code (ICLR 2022) takes an arbitrary integrand, so the neighbourhood of a position is a closure over the
graphon, called for each pair of positions and each state under the integral, for each action and step: once in the
backward pass, once in the forward pass, and three backward passes more for the exploitability. This twin makes the same
evaluations through the same number of closures over the same kinds of containers; only its code is its own.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

W = Callable[[float, float], float]
Integrand = Callable[[tuple[float, int]], float]
INFECTION, RECOVERY = 0.8, 0.2
STATES, ACTIONS = range(2), range(2)


def integral(alphas: Any, laws: Any, f: Integrand) -> float:
    """int sum_s f(beta, s) mu^beta(s) dbeta with equal weights."""

    def one(beta: float, law: Any) -> float:
        at: Callable[[int], float] = lambda s: f((beta, s))  # noqa: E731
        return float(sum([at(s) * law[s] for s in range(len(law))]))

    return float(np.mean([one(beta, law) for beta, law in zip(alphas, laws, strict=True)]))


def transition(w: W, alphas: Any, laws: Any, x: tuple[float, int], action: int) -> Any:
    """The law of the next state of x = (position, state)."""

    def felt(f: Integrand) -> float:
        return integral(alphas, laws, lambda y: w(x[0], y[0]) * f(y))

    if x[1] == 1:
        return np.array([RECOVERY, 1 - RECOVERY])
    caught = felt(lambda y: (1 - action) * INFECTION * y[1])
    return np.array([1 - caught, caught])


def reward(x: tuple[float, int], action: int) -> float:
    return -2.0 * x[1] - 0.5 * action


def backward(w: W, alphas: Any, flow: Any, policy: Any | None) -> Any:
    """Q[k, h, s, a] in a flow[h][k][s]: of the policy[k, h, s, a], or of the best response."""
    found = []
    for k, alpha in enumerate(alphas):
        value, values = [0.0, 0.0], []
        for h in reversed(range(len(flow))):
            q = []
            for s in STATES:
                x = (alpha, s)
                q.append([reward(x, a) + np.vdot(value, transition(w, alphas, flow[h], x, a)) for a in ACTIONS])
            value = [np.max(q[s]) if policy is None else np.vdot(q[s], policy[k][h][s]) for s in STATES]
            values.append(q)
        found.append(values[::-1])
    return np.array(found)


def boltzmann(values: Any, temperature: float) -> Any:
    weights = np.exp((values - values.max(-1, keepdims=True)) / temperature)
    return weights / weights.sum(-1, keepdims=True)


def forward(w: W, alphas: Any, policy: Any) -> Any:
    """flow[h][k][s] of a policy."""
    laws, flow = [np.array([0.5, 0.5]) for _ in alphas], []
    for h in range(len(policy[0])):
        flow.append(laws)
        moved = []
        for k, alpha in enumerate(alphas):
            matrix = np.sum(
                [
                    np.array([policy[k][h][s][a] * transition(w, alphas, laws, (alpha, s), a) for s in STATES])
                    for a in ACTIONS
                ],
                axis=0,
            )
            moved.append(laws[k] @ matrix)
        laws = moved
    return flow


def iterate(w: W, alphas: Any, policy: Any, temperature: float) -> Any:
    """One fixed-point iteration: the flow of the policy, then the Boltzmann answer to it."""
    return boltzmann(backward(w, alphas, forward(w, alphas, policy), None), temperature)


def exploitability(w: W, alphas: Any, flow: Any, policy: Any) -> float:
    """Mean over positions of optimal minus own value in a flow, by three backward passes."""
    best = backward(w, alphas, flow, None)
    greedy = (best == best.max(-1, keepdims=True)).astype(float)
    greedy /= greedy.sum(-1, keepdims=True)
    top, own = backward(w, alphas, flow, greedy), backward(w, alphas, flow, policy)

    def value(q: Any, pi: Any) -> float:
        return float((0.5 * (q[:, 0] * pi[:, 0]).sum(-1)).sum(-1).mean())

    return value(top, greedy) - value(own, policy)
