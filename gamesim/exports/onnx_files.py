"""Graphs as ONNX, operator set 18: the same operations, three of them in several nodes."""

from pathlib import Path
from typing import Any

import torch

from gamesim.errors import missing_extra
from gamesim.exports.graphs import ONE, Graph
from gamesim.files import to_json, write_with

OPSET = 18


def write_onnx(path: Path, graph: Graph, about: dict[str, Any]) -> None:
    """Write a network that onnxruntime runs; what it is stands in the model's properties as JSON, `gamesim`."""
    try:
        import onnx
    except ModuleNotFoundError:
        raise missing_extra("an .onnx file", "onnx", "gamesim[onnx]") from None
    model = model_of(graph)
    entry = model.metadata_props.add()
    entry.key, entry.value = "gamesim", to_json(about)
    onnx.checker.check_model(model, full_check=True)
    write_with(path, lambda spare: _put(spare, model.SerializeToString()))


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def model_of(graph: Graph) -> Any:
    """The graph as a ModelProto."""
    from onnx import TensorProto, helper, numpy_helper

    floats = {x.dtype for x in graph.weights.values() if x.is_floating_point()}
    real = TensorProto.DOUBLE if floats == {torch.float64} else TensorProto.FLOAT
    types = {"float": real, "int64": TensorProto.INT64}
    nodes, constants = list[Any](), list[Any]()

    def whole(name: str, *values: int, scalar: bool = False) -> str:
        numbers = torch.tensor(values[0] if scalar else values, dtype=torch.int64)
        constants.append(numpy_helper.from_array(numbers.numpy(), name))
        return name

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    ranks = {name: len(x["shape"]) for name, x in graph.inputs.items()} | {n: x.dim() for n, x in graph.weights.items()}
    for step in graph.steps:
        op, given, out = step["op"], step["inputs"], step["output"]
        ranks[out] = _rank(step, ranks)
        match op:
            case "Rows":
                size = node(
                    "Gather", [node("Shape", given, f"{out}.shape"), whole(f"{out}.at", -2, scalar=True)], f"{out}.n"
                )
                node("Cast", [size], out, to=real)
            case "Like":
                shape = node("Shape", [given[1]], f"{out}.shape")
                if ranks[given[0]] < ranks[given[1]]:
                    first = node("Gather", [shape, whole(f"{out}.first", 0)], f"{out}.n")
                    shape = node("Concat", [first, whole(f"{out}.ones", *[1] * ranks[given[0]])], f"{out}.to", axis=0)
                node("Expand", [given[0], shape], out)
            case "Part":
                start, end = step["at"]
                limits = [whole(f"{out}.{n}", x) for n, x in (("from", start), ("to", end), ("axis", -1))]
                node("Slice", [*given, *limits], out)
            case "Clip":
                for end, value in zip(("least", "most"), step["at"], strict=True):
                    dtype = torch.float64 if real == TensorProto.DOUBLE else torch.float32
                    constants.append(numpy_helper.from_array(torch.tensor(value, dtype=dtype).numpy(), f"{out}.{end}"))
                node("Clip", [*given, f"{out}.least", f"{out}.most"], out)
            case "Reshape":
                node("Reshape", [*given, whole(f"{out}.shape", *step["shape"])], out)
            case "ReduceMean" | "ReduceSum" | "ReduceMax":
                node(op, [*given, whole(f"{out}.axis", step["axis"])], out, keepdims=1)
            case "Gather":
                node(op, given, out, axis=step["axis"])
            case "Concat" | "Softmax":
                node(op, given, out, axis=step["axis"])
            case "Transpose":
                node(op, given, out, perm=step["perm"])
            case "LayerNormalization":
                node(op, given, out, axis=-1, epsilon=step["epsilon"])
            case _ if op in ONE:
                node(op, given, out)
            case _:
                raise AssertionError(op)
    used = {name for step in graph.steps for name in step["inputs"]}
    constants += [numpy_helper.from_array(x.numpy(), n) for n, x in graph.weights.items() if n in used]
    inputs = [helper.make_tensor_value_info(n, types[x["type"]], x["shape"]) for n, x in graph.inputs.items()]
    outputs = [helper.make_tensor_value_info(n, real, shape) for n, shape in graph.outputs.items()]
    made = helper.make_graph(nodes, "policy", inputs, outputs, constants)
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(made, opset_imports=[opset], ir_version=9, producer_name="gamesim")


def _rank(step: dict[str, Any], ranks: dict[str, int]) -> int:
    """How many dimensions a step's output has."""
    given = [ranks[x] for x in step["inputs"]]
    match step["op"]:
        case "Rows":
            return 0
        case "Reshape":
            return len(step["shape"])
        case "Gather":
            return given[0] + given[1] - 1
        case _:
            return max(given)
