"""The graphon games over again as row functions, for compiled loops; see gamesim.kernels.rows.

Positions come last. Each function says what its parameters are; the torch methods in the game's own file say why.
"""

from gamesim.kernels import rows

# mypy: disable-error-code="no-untyped-def"


@rows.reward
def beach_reward(h, z, out, parameters):
    """crowd, comfort[s, a]."""
    states, actions, positions = out.shape
    for s in range(states):
        for a in range(actions):
            comfort = parameters[1 + s * actions + a]
            for k in range(positions):
                out[s, a, k] = comfort - parameters[0] * z[s, k]


@rows.reward
def investment_reward(h, z, out, parameters):
    """profit[s], spending[a]."""
    states, actions, positions = out.shape
    for k in range(positions):
        out[0, 0, k] = 1.0
    for s in range(states):
        for k in range(positions):
            out[0, 0, k] += s * z[s, k]
    for s in range(states - 1, -1, -1):  # the first entry, which holds the competition, goes last
        for a in range(actions - 1, -1, -1):
            for k in range(positions):
                out[s, a, k] = parameters[s] / out[0, 0, k] - parameters[states + a]


@rows.reward
def malware_reward(h, z, out, parameters):
    """rewards[s], clean[s], defended[s], unprotected[s], update."""
    for s in range(out.shape[0]):
        out[s] = parameters[s]


@rows.expect
def malware_expect(h, value, z, out, parameters):
    """rewards[s], clean[s], defended[s], unprotected[s], update."""
    n, positions = z.shape
    update = parameters[4 * n]
    for s in range(n):
        clean, defended, unprotected = parameters[n + s], parameters[2 * n + s], parameters[3 * n + s]
        infected = s - s % 2  # the same computer, infected; one further on, susceptible
        other = infected + 2 if s % 4 < 2 else infected - 2  # the same, at the other level of defence
        for k in range(positions):
            g_defended = g_unprotected = 0.0
            for sector in range(0, n, 4):
                g_defended += z[sector, k]
                g_unprotected += z[sector + 2, k]
            chance = clean * (1 - defended * min(g_defended, 1.0)) * (1 - unprotected * min(g_unprotected, 1.0))
            kept = value[infected, k] + chance * (value[infected + 1, k] - value[infected, k])
            changed = value[other, k] + chance * (value[other + 1, k] - value[other, k])
            out[s, 0, k] = kept
            out[s, 1, k] = kept + update * (changed - kept)


@rows.push
def malware_push(h, mass, policy, z, out, parameters):
    """rewards[s], clean[s], defended[s], unprotected[s], update."""
    n, positions = z.shape
    update = parameters[4 * n]
    out[:] = 0.0
    for s in range(n):
        clean, defended, unprotected = parameters[n + s], parameters[2 * n + s], parameters[3 * n + s]
        infected = s - s % 2
        other = infected + 2 if s % 4 < 2 else infected - 2
        for k in range(positions):
            g_defended = g_unprotected = 0.0
            for sector in range(0, n, 4):
                g_defended += z[sector, k]
                g_unprotected += z[sector + 2, k]
            chance = clean * (1 - defended * min(g_defended, 1.0)) * (1 - unprotected * min(g_unprotected, 1.0))
            susceptible = mass[s, k] * chance
            sick = mass[s, k] - susceptible
            change = update * policy[s, 1, k]
            out[infected, k] += sick - change * sick
            out[infected + 1, k] += susceptible - change * susceptible
            out[other, k] += change * sick
            out[other + 1, k] += change * susceptible
