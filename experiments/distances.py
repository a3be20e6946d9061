"""The theory's distances between policies and between flows (arXiv 2310.17531 and 2310.08089)."""

from torch import Tensor

from gamesim.games import GraphonGame, Policy
from gamesim.simplex import divergence


def policy_distance(game: GraphonGame, best: Policy, policy: Policy, flow: Tensor) -> Tensor:
    """D = int E_{flow(k)} sum_h KL(best_h || policy_h) dk, with flow[..., h, k, s] that of the best policy: [...]."""
    return game.mean((flow * divergence(best[0], policy[0])).sum((-3, -1)))


def flow_distance(game: GraphonGame, one: Tensor, other: Tensor) -> Tensor:
    """d = int sum_h || one_h(k) - other_h(k) ||_1 dk, of flows [..., h, k, s]: [...]."""
    return game.mean((one - other).abs().sum((-3, -1)))
