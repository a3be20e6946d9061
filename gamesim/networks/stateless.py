"""A torch module as a function of its weights: a tuple of tensors, whose leading dimensions are a batch of networks.

Modules of gamesim.attention take weights with leading dimensions, so that seeds, hyper-parameters, twins and ensembles
run as one batch. Weights are drawn from a named stream, never from a global generator.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gamesim.networks.adam import Weights
from gamesim.randomness import Stream


class Stateless:
    """What a module computes, as a function of weights in its own order."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module.requires_grad_(False)
        own = dict(module.named_parameters())
        self.names = tuple(own)
        self.shapes = tuple(tuple(x.shape) for x in own.values())

    def __call__(self, weights: Weights, *arguments: Any) -> Tensor:
        """The module's output with these weights."""
        found: Tensor = functional_call(self.module, self.named(weights), arguments)
        return found

    def named(self, weights: Weights) -> dict[str, Tensor]:
        """The weights by the names of the module's parameters."""
        return dict(zip(self.names, weights, strict=True))

    @property
    def size(self) -> int:
        """Numbers of one network."""
        return sum(torch.Size(shape).numel() for shape in self.shapes)

    def draw(
        self, front: tuple[int, ...], generator: Stream, dtype: torch.dtype = torch.float32, device: Any = "cpu"
    ) -> Weights:
        """Weights [*front, *shape]: matrices [in, out] normal with variance 1 / in, everything else as it was made.

        A module may say otherwise: `spreads`, a standard deviation for each of its parameters by name.
        """
        found = list[Tensor]()
        for name, parameter in self.module.named_parameters():
            path, _, leaf = name.rpartition(".")
            spreads = getattr(self.module.get_submodule(path), "spreads", {})
            spread = spreads.get(
                leaf, parameter.shape[0] ** -0.5 if leaf == "weight" and parameter.dim() == 2 else None
            )
            shape = (*front, *parameter.shape)
            if spread:
                found.append(generator.normal(shape, dtype, device) * spread)
            elif spread == 0:
                found.append(torch.zeros(shape, dtype=dtype, device=device))
            else:
                found.append(parameter.detach().to(device, dtype).expand(shape).clone())
        return tuple(found)
