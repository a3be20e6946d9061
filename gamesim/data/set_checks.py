"""What must hold of the tensors of a dataset of sets; refusals name the field, the first bad index and the value."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.data.agents import BadEntry
from gamesim.errors import InvalidInput, refuse

Wanted = str | Callable[[int], str]


def checked_parts(given: Mapping[str, Any], types: Mapping[str, Any], header: Mapping[str, Any]) -> dict[str, Tensor]:
    """The parts as tensors of their types on the device of the tokens, once every rule below is found to hold."""
    kind, count = header["actions"]
    wanted = {**types, "actions": torch.uint8 if kind == "discrete" else torch.float32}
    parts = dict[str, Tensor]()
    for name, dtype in wanted.items():
        part = _numbers(given[name], name, dtype)
        parts[name] = part.to(parts["tokens"].device) if parts else part
    _require_shapes(parts, count if kind == "continuous" else None, len(header["features"]))
    _require_states(parts, header)
    _require_transitions(parts, kind, count)
    _require_episodes(parts, header)
    return parts


def _require_shapes(parts: dict[str, Tensor], size: int | None, features: int) -> None:
    def shaped(name: str, wanted: list[int], words: str) -> None:
        if list(parts[name].shape) != wanted:
            raise refuse(name, f"shape {list(parts[name].shape)}", f"{wanted}, {words}")

    for name, part in parts.items():
        if part.dim() != 1 + (name == "tokens" or (name == "actions" and size is not None)):
            dims = {"tokens": "[row, d]", "actions": "[agents.sum()]" if size is None else f"[agents.sum(), {size}]"}
            raise refuse(name, f"shape {list(part.shape)}", dims.get(name, "one dimension"))
        if not len(part):
            raise refuse(name, "nothing", "at least one entry: a dataset has a transition")
    rows, n, episodes = len(parts["tokens"]), len(parts["before"]), len(parts["seed"])
    shaped("tokens", [rows, features], "a number for each name in header.features")
    shaped("types", [rows], "one for each row of tokens")
    for name in ("after", "agents", "terminated", "truncated", "episode", "time"):
        shaped(name, [n], "one for each transition, as in `before`")
    for name in ("behaviour", "world"):
        shaped(name, [episodes], "one for each episode, as in `seed`")
    if len(parts["offsets"]) < 2:
        raise refuse("offsets", f"shape {list(parts['offsets'].shape)}", "[states + 1]")
    _require(parts["agents"] >= 1, "agents", parts["agents"], "at least 1: a set without agents does nothing")
    _require(parts["agents"] <= rows, "agents", parts["agents"], f"at most {rows}, the rows of all tokens")
    acts = int(parts["agents"].sum())
    shaped("rewards", [acts], "agents.sum(), one for each agent of each transition")
    shaped("actions", [acts] if size is None else [acts, size], "agents.sum(), one for each agent of each transition")


def _require_states(parts: dict[str, Tensor], header: Mapping[str, Any]) -> None:
    tokens, offsets = parts["tokens"], parts["offsets"]
    _require(tokens.isfinite(), "tokens", tokens, "a finite number, also in float32")
    kinds = len(header["kinds_of_entity"])
    _require(parts["types"] < kinds, "types", parts["types"], f"a kind of entity from 0 to {kinds - 1}")
    if int(offsets[0]) != 0:
        raise BadEntry("offsets", (0,), int(offsets[0]), "0, where the first state begins")
    forward = torch.cat([offsets.new_ones(1, dtype=torch.bool), offsets.diff() >= 1])
    _require(forward, "offsets", offsets, lambda i: f"more than {int(offsets[i - 1])}, where this state begins")
    if int(offsets[-1]) != len(tokens):
        raise BadEntry("offsets", (len(offsets) - 1,), int(offsets[-1]), f"{len(tokens)}, the rows of tokens")


def _require_transitions(parts: dict[str, Tensor], kind: str, count: int) -> None:
    states, sizes, agents, actions = (
        len(parts["offsets"]) - 1,
        parts["offsets"].diff(),
        parts["agents"],
        parts["actions"],
    )
    for name in ("before", "after"):
        at = parts[name]
        _require((at >= 0) & (at < states), name, at, f"a state from 0 to {states - 1}")
    room = sizes[parts["before"]]
    _require(agents <= room, "agents", agents, lambda k: f"at most {int(room[k])}, the entities of state before[{k}]")
    if kind == "discrete":
        _require(actions < count, "actions", actions, f"an action from 0 to {count - 1}")
    else:
        _require(actions.abs() <= 1, "actions", actions, "a number in [-1, 1]")
    _require(parts["rewards"].isfinite(), "rewards", parts["rewards"], "a finite number, also in float32")


def _require_episodes(parts: dict[str, Tensor], header: Mapping[str, Any]) -> None:
    episode, time, episodes = parts["episode"], parts["time"], len(parts["seed"])
    begins = torch.cat([episode.new_ones(1, dtype=torch.bool), episode.diff() != 0])
    number = begins.cumsum(0) - 1
    _require(
        episode == number,
        "episode",
        episode,
        lambda k: f"{int(number[k])}: transitions of an episode stand together, numbered from 0 without gaps",
    )
    if int(episode[-1]) + 1 != episodes:
        raise refuse("seed", f"{episodes} entries", f"{int(episode[-1]) + 1}, one for each episode")
    first = begins.nonzero()[:, 0]
    since = torch.arange(len(time), device=time.device) - first[episode]
    _require(time == since, "time", time, lambda k: f"{int(since[k])}, the steps since its episode began")
    ends = torch.cat([begins[1:], begins.new_ones(1)])
    terminated, truncated = parts["terminated"], parts["truncated"]
    _require(~(terminated & truncated), "truncated", truncated, "false: this transition is terminated already")
    over = terminated | truncated
    name = "terminated" if bool((terminated & ~ends).any()) else "truncated"
    _require(ends | ~over, name, parts[name], "false: the episode goes on after it")
    _require(over | ~ends, "truncated", truncated, "true, or terminated: it is the last transition of its episode")
    before, after = parts["before"], parts["after"]
    joined = torch.cat([begins.new_ones(1), begins[1:] | (before[1:] == after[:-1])])
    _require(joined, "before", before, lambda k: f"{int(after[k - 1])}, the state that transition {k - 1} leads to")
    for name, known in (("behaviour", "behaviours"), ("world", "worlds")):
        many = len(header[known])
        _require(parts[name] < many, name, parts[name], f"a place in header.{known}, 0 to {many - 1}")


def _require(fine: Tensor, field: str, values: Tensor, wanted: Wanted) -> None:
    if not bool(fine.all()):
        index = tuple(int(i) for i in (~fine).nonzero()[0])
        raise BadEntry(field, index, values[index].item(), wanted if isinstance(wanted, str) else wanted(*index))


def _numbers(value: Any, field: str, dtype: torch.dtype) -> Tensor:
    """A tensor of the wanted type; numbers that it cannot hold are refused rather than bent."""
    try:
        part = value.detach() if isinstance(value, Tensor) else _from_numpy(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        words = " ".join(str(error).split())[:120]
        raise refuse(field, type(value).__name__, f"a rectangular array of numbers ({words})") from None
    if part.is_complex() or part.is_quantized or part.layout != torch.strided or part.is_meta:
        raise refuse(
            field, f"{part.dtype}, {part.layout} on {part.device}", "real numbers, on a device that holds them"
        )
    if part.dtype == dtype or dtype.is_floating_point:
        return part.to(dtype).contiguous()
    low, high = (0, 1) if dtype == torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    if part.is_floating_point():
        whole = part == part.floor()
        _require(whole & (part >= float(low)) & (part < float(high) + 1), field, part, _range(low, high))
    elif part.dtype != torch.bool and part.numel() and dtype != torch.int64:
        _require((part >= low) & (part <= high), field, part, _range(low, high))
    return part.to(dtype).contiguous()


def _range(low: int, high: int) -> str:
    return "a whole number" if high > 2**32 else f"a whole number from {low} to {high}"


def _from_numpy(value: Any) -> Tensor:
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise InvalidInput(f"these are of type {array.dtype}")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        if array.size and int(array.max()) > 2**63 - 1:
            raise OverflowError(f"{array.max()} is too large")
        array = array.astype(np.int64)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    native = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    return torch.from_numpy(native if native.flags.writeable else native.copy())
