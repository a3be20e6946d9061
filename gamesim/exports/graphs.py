"""A network written out: weights, and the steps that make outputs of inputs, in a dozen operations.

A step is {"op", "inputs", "output"} and at most one more entry. Operations are those of ONNX by name and meaning, but
for three that say in one what takes several there:

    Part(x, at=[i, j])       x[..., i:j]
    Rows(x)                  how many rows x[..., row, d] has, as a number
    Like(x, y)               x repeated along y's first dimension, or to y's shape where it has as many dimensions

Reshape has 0 for a size that stays. Everything is exact in words: an interpreter in torch takes forty lines
(docs/interoperability.md), and `gamesim.exports.onnx_files` makes ONNX of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

ONE = {"MatMul", "Add", "Sub", "Mul", "Div", "Relu", "Tanh", "Sigmoid", "Elu", "Log", "Max", "Rows", "Like"}
"""Operations that need nothing but their inputs."""


@dataclass
class Graph:
    """Steps, and the weights that they name."""

    inputs: dict[str, dict[str, Any]]
    """What goes in: {"type": "float" | "int64", "shape": names and numbers}."""
    weights: dict[str, Tensor]
    outputs: dict[str, list[Any]] = field(default_factory=dict)
    """What comes out, and its shape in names and numbers."""
    steps: list[dict[str, Any]] = field(default_factory=list)

    def do(self, op: str, *inputs: str, **extra: Any) -> str:
        """Add a step; the name of its output."""
        output = f"t{len(self.steps)}"
        self.steps.append({"op": op, "inputs": list(inputs), "output": output, **extra})
        return output

    def constant(self, name: str, value: Tensor) -> str:
        """A number or table that is no weight, kept beside them."""
        self.weights[name] = value
        return name

    def give(self, name: str, value: str, shape: Sequence[Any]) -> None:
        """The output of a step, under this name, is an output of the network."""
        for step in self.steps:
            step["inputs"] = [name if x == value else x for x in step["inputs"]]
            step["output"] = name if step["output"] == value else step["output"]
        self.outputs[name] = list(shape)

    def linear(self, x: str, path: str) -> str:
        """x W + b."""
        return self.do("Add", self.do("MatMul", x, f"{path}.weight"), f"{path}.bias")

    def mean(self, x: str) -> str:
        """The mean of the rows, as one row."""
        return self.do("ReduceMean", x, axis=-2)

    def plain(self) -> dict[str, Any]:
        return {"inputs": self.inputs, "outputs": self.outputs, "steps": self.steps}
