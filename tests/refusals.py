"""What tests of refusals share: the line that a call is refused with, and tensors of 64 bits to be refused."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gamesim.errors import InvalidInput


def said(call: Callable[[], Any]) -> str:
    """The line that a call is refused with, without the quotes around what it got."""
    with pytest.raises(InvalidInput) as error:
        call()
    return re.sub(r": got '(.*)', expected ", r": got \1, expected ", str(error.value))


def f64(*values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
