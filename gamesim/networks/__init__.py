"""Networks on sets of agents: batches of weights, invariant values, equivariant policies, and Adam."""

from gamesim.networks.deep_sets import DeepSets
from gamesim.networks.gcn import GCN
from gamesim.networks.kinds import Network
from gamesim.networks.mlp import MLP
from gamesim.networks.set_transformer import SetTransformer

__all__ = ["GCN", "MLP", "DeepSets", "Network", "SetTransformer"]
