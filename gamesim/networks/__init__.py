"""Networks on sets of agents: batches of weights, invariant values, equivariant policies, and Adam."""
