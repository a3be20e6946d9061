"""Networks on sets, as choices: `network=set-transformer(width=48, blocks=2)`.

For every permutation psi of the rows of a set X, invariant networks have f(psi X) = f(X), one value for the set, and
equivariant ones g(psi X) = psi g(X), one value for each agent (Zaheer et al., "Deep sets", NeurIPS 2017). What pools
rows is a mean, never a sum, so that bounds do not grow with the set (Zhang et al., arXiv 2209.09845).
"""

from abc import ABC, abstractmethod
from typing import Annotated, ClassVar

from torch import nn

from gamesim.parameters import Bounds, kind_of, spelled

Depth = Annotated[int, Bounds("a whole number from 1 to 100", 1, 100)]


class Network(ABC):
    """A kind of network with its sizes; `module` makes one. The same weights serve sets of all sizes.

    A kind is written as a call, and printed as one:

    >>> from gamesim.networks import GCN, SetTransformer
    >>> str(SetTransformer(width=48, blocks=1)), str(GCN())
    ('set-transformer(width=48, blocks=1)', 'gcn')
    """

    kinds: ClassVar[dict[str, type]] = {}

    def __init_subclass__(cls) -> None:
        Network.kinds[kind_of(cls)] = cls

    @abstractmethod
    def module(self, inputs: int, outputs: int, *, pooled: bool, most: int) -> nn.Module:
        """A module of zeros, for `Stateless`; its forward(x[..., row, inputs], layout, acting[row']) gives

        [..., b, outputs], a value for each set, where `pooled`; or else [..., row', outputs], one for each of the rows
        `acting`. Sets have at most `most` rows, which matters to networks that are not invariant.
        """

    def __str__(self) -> str:
        return spelled(self)
