"""Schedules written out for compiled loops: a row of numbers for each of the hyper-parameters that a batch has."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamesim.schedules import Constant, Power, Schedule
from gamesim.shapes import broadcast_shapes

Table = np.ndarray[Any, Any]


def written_out(
    schedules: Sequence[Schedule], times: range, batch: tuple[int, ...], inner: int
) -> tuple[list[Table], Tensor] | None:
    """Each schedule at those times as [k, T], and which of the k rows is a lane's, [b] for the batch laid out flat.

    Numbers broadcast against policies [*batch, *inner dimensions]; None where they differ along the inner ones.
    """
    shape = broadcast_shapes(*(torch.as_tensor(schedule(times[0])).shape for schedule in schedules))
    own, rest = shape[: max(0, len(shape) - inner)], shape[max(0, len(shape) - inner) :]
    if any(size != 1 for size in rest) or len(own) > len(batch):
        return None
    count = int(np.prod(own, dtype=np.int64))
    which = torch.arange(count).reshape(own).expand(batch).reshape(-1).contiguous()
    return [_table(schedule, times, shape) for schedule in schedules], which


def _table(schedule: Schedule, times: range, shape: torch.Size) -> Table:
    if not shape:
        return _row(schedule, times)[None]
    rows = [torch.as_tensor(schedule(t), dtype=torch.float64).expand(shape).reshape(-1) for t in times]
    return torch.stack(rows, -1).numpy()


def _row(schedule: Schedule, times: range) -> Table:
    """A schedule of plain numbers at each time: those of our own kinds at once, a user's one by one."""
    if type(schedule) in (Constant, Power):  # numpy's powers are the same whatever stands beside them
        values: Any = schedule(np.arange(times.start, times.stop, dtype=np.float64))  # type: ignore[arg-type]
        return np.broadcast_to(np.asarray(values, dtype=np.float64), (len(times),)).copy()
    return np.array([float(schedule(t)) for t in times])
