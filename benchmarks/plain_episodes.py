"""A plain twin of the way REINFORCE is written down: one seed, one episode, one step after the other.

Lazy policy gradient with one episode an iteration, gamma = 0.3 / (n + 10)^0.6 and eps = 0.5 / (n + 10)^0.3. Arrays,
sums, sorted rows and random numbers are numpy's, as in most public code, and numba compiles it as it stands.
"""

from typing import Any

import numpy as np


def reinforce(reward: Any, continuation: Any, initial: Any, seeds: int, T: int) -> Any:
    """Environment steps taken, and the last policies, with reward[player, s, a1, a2] and continuation[s, a1, a2, t]."""
    states, actions = reward.shape[1], reward.shape[2]
    final = np.zeros((seeds, 2, states, actions))
    steps = 0
    for seed in range(seeds):
        y = np.full((2, states, actions), 1.0 / actions)
        policy = y.copy()
        for n in range(T):
            gamma, eps = 0.3 / (n + 10.0) ** 0.6, 0.5 / (n + 10.0) ** 0.3
            played = (1 - eps) * policy + eps / actions
            visits, returns = np.zeros((2, states, actions)), np.zeros(2)
            s = np.searchsorted(np.cumsum(initial)[:-1], np.random.rand(), side="right")  # noqa: NPY002
            while s < states:
                a = np.zeros(2, np.int64)
                for i in range(2):
                    a[i] = np.searchsorted(np.cumsum(played[i, s])[:-1], np.random.rand(), side="right")  # noqa: NPY002
                    visits[i, s, a[i]] += 1
                for i in range(2):
                    returns[i] += reward[i, s, a[0], a[1]]
                s = np.searchsorted(np.cumsum(continuation[s, a[0], a[1]]), np.random.rand(), side="right")  # noqa: NPY002
                steps += 1
            for i in range(2):
                y[i] += gamma * returns[i] * visits[i] / played[i]
                for k in range(states):
                    ordered = np.sort(y[i, k])[::-1]
                    tau = (np.cumsum(ordered) - 1) / np.arange(1, actions + 1)
                    policy[i, k] = np.maximum(y[i, k] - tau[np.sum(ordered > tau) - 1], 0)
        final[seed] = policy
    return steps, final
