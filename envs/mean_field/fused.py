"""The plain mean-field games over again as row functions, for compiled loops; see gamesim.kernels.rows."""

import math

from gamesim.kernels import rows

# mypy: disable-error-code="no-untyped-def"


@rows.reward
def shy_reward(h, z, out, parameters):
    """Who shuns the crowd, near - cost - log(z + epsilon): epsilon, the steps whose moves cost, near[s], cost[a]."""
    states, actions, positions = out.shape
    charged = 1.0 if h < parameters[1] else 0.0
    for s in range(states):
        for k in range(positions):
            here = parameters[2 + s] - math.log(z[s, k] + parameters[0])
            for a in range(actions):
                out[s, a, k] = here - charged * parameters[2 + states + a]
