"""A multilayer perceptron on a set written as one long row: what one gets without invariance.

    f(X) = MLP([x_1, x_2, ..., x_m, 0, ..., 0]),    zeros up to the largest set

It has to learn every order of the same set by itself, and its first layer grows with the largest set. Rows are told
from zeros by whatever says their kind.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import pad

from gamesim.attention import Layout
from gamesim.attention.blocks import Linear
from gamesim.errors import refuse
from gamesim.networks.deep_sets import rectified
from gamesim.networks.kinds import Depth, Network
from gamesim.parameters import Count, check


@dataclass(frozen=True)
class MLP(Network):
    """All rows in their order, as one; not invariant, and refuses sets that are larger than it was made for."""

    width: Count = 64
    """Numbers in a hidden layer."""
    layers: Depth = 2
    """Hidden layers."""

    def __post_init__(self) -> None:
        check(self)

    def module(self, inputs: int, outputs: int, *, pooled: bool, most: int) -> nn.Module:
        return MLPLayers(self, inputs, outputs, pooled, most)


class MLPLayers(nn.Module):
    def __init__(self, network: MLP, inputs: int, outputs: int, pooled: bool, most: int) -> None:
        super().__init__()
        if most < 1:
            raise refuse("most", most, "the rows of the largest set, at least 1")
        self.pooled, self.most, self.outputs = pooled, most, outputs
        self.hidden = rectified(most * inputs, *[network.width] * network.layers)
        self.last = Linear(network.width, outputs if pooled else most * outputs)

    def forward(self, x: Tensor, layout: Layout, acting: Tensor) -> Tensor:
        if layout.longest > self.most:
            raise refuse("set", f"one of {layout.longest} rows", f"at most {self.most}, for which this mlp was made")
        rows = pad(layout.pad(x), (0, 0, 0, self.most - layout.longest)).flatten(-2)
        out: Tensor = self.last(self.hidden(rows))
        if self.pooled:
            return out
        places = (layout.owners * self.most + layout.places)[acting]
        return out.reshape(*out.shape[:-2], -1, self.outputs).index_select(-2, places)
