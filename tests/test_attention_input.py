"""Attention within sets refuses, by name and before any work, what it cannot mean."""

import math

import pytest
import torch

from gamesim.attention import Layout, set_attention
from gamesim.errors import InvalidInput

X = torch.ones(5, 2, 4)
HERE = Layout.of([2, 3])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cu_q": torch.tensor([0, 2, 4])}, r"cu_q\[-1\]: got 4, expected 5, the rows of q"),
        ({"cu_q": torch.tensor([1, 2, 5])}, r"cu_q\[0\]: got 1, expected 0"),
        ({"cu_q": torch.tensor([0, 4, 2, 5])}, r"cu_q\[2\]: got 2, expected at least 4, where set 1 begins"),
        ({"cu_q": torch.tensor([0.0, 5.0])}, r"cu_q: got '?torch.float32"),
        ({"cu_q": torch.tensor([[0, 5]])}, r"cu_q: got '?torch.int64 of shape \[1, 2\]"),
        ({"cu_q": torch.tensor([], dtype=torch.int64)}, r"cu_q: .*\[0\]"),
        ({"cu_q": HERE, "cu_k": Layout.of([5])}, r"cu_k: got '1 sets', expected 2"),
        ({"cu_q": HERE, "cu_k": Layout.of([2, 2])}, r"cu_k\[-1\]: got 4, expected 5, the rows of k"),
        ({"cu_k": HERE}, r"cu_q: got None"),
        ({"cu_q": HERE.to("meta")}, r"cu_q.device: got meta, expected cpu, where q is: cu_q.to\(device\)"),
        ({"cu_q": HERE, "lengths": torch.tensor([2, 3])}, r"cu_q: got 'offsets', expected either"),
        ({"lengths": torch.tensor([2, 3])}, r"q.shape: got \[5, 2, 4\], expected \[..., b, N, head, d\]"),
        ({"kind": "sofmax"}, r"kind: .*did you mean softmax"),
        ({"kind": "topk"}, r"top: got None, expected a whole number above 0"),
        ({"kind": "topk", "top": 0}, r"top: got 0"),
        ({"kind": "topk", "top": 1.5}, r"top: got 1.5"),
        ({"top": 3}, r"top: got 3, expected nothing: softmax keeps all keys"),
        ({"bias": 1.0}, r"bias: got 'a value', expected nothing"),
        ({"kind": "sigmoid", "bias": torch.ones(3)}, r"bias.shape: got \[3\]"),
        ({"kind": "sigmoid", "sink": torch.zeros(2)}, r"sink: .*just add up"),
        ({"kind": "sigmoid", "return_lse": True}, r"return_lse: .*just add up"),
        ({"kind": "linear", "normalised": False, "return_lse": True}, r"return_lse: "),
        ({"kind": "linear", "feature": "identity"}, r"normalised: got True, expected False"),
        ({"kind": "linear", "feature": "relu"}, r"feature: got 'relu'"),
        ({"kind": "linear", "scale": 2.0}, r"scale: got 2.0, expected nothing"),
        ({"normalised": False}, r"kind: got 'softmax', expected linear"),
        ({"scale": math.nan}, r"scale: got nan, expected a finite number"),
        ({"key_bias": torch.zeros(4)}, r"key_bias.shape: got \[4\], expected \[5\]"),
        ({"key_bias": torch.zeros(2, 5, 2)}, r"key_bias.shape: got \[2, 5, 2\]"),
        ({"key_bias": torch.zeros(5).double()}, r"key_bias.dtype: got torch.float64, expected torch.float32"),
        ({"sink": torch.zeros(3)}, r"sink.shape: got \[3\]"),
        ({"sink": torch.zeros(4, 2)}, r"sink.shape: got \[4, 2\]"),
        ({"mask": torch.zeros(5)}, r"mask: got '?torch.float32"),
        ({"mask": torch.zeros(2, 5, dtype=torch.bool)}, r"mask: .*leading dimensions share it"),
        ({"mask": torch.zeros(5, dtype=torch.bool, device="meta")}, r"mask.device: got meta"),
        (
            {"cu_q": HERE, "mask": torch.tensor([True, True, False, True, False])},
            r"mask: got 'every key of set 0 hidden'",
        ),
        ({"path": "triton"}, r"path: got 'triton', expected one that serves this call: .*GPUs only"),
    ],
    ids=lambda x: "" if isinstance(x, str) else "-".join(x),
)
def test_options_are_refused_by_name(options, said) -> None:
    with pytest.raises(InvalidInput, match=said):
        set_attention(X, X, X, **options)


@pytest.mark.parametrize(
    ("q", "k", "v", "said"),
    [
        (X[0, 0], X, X, r"q.shape: got \[4\], expected \[..., row, head, d\]"),
        (X.long(), X.long(), X.long(), r"q.dtype: got '?torch.int64, expected a floating-point type"),
        (X, X.double(), X, r"k.dtype: got torch.float64, expected torch.float32, as q"),
        (X, X, X.to("meta"), r"v.device: got meta, expected cpu, where q is"),
        (X, X[..., :3], X, r"k.shape: got \[5, 2, 3\], expected heads and numbers of q, \[2, 4\]"),
        (X, X[:, :1], X[:, :1], r"k.shape: got \[5, 1, 4\]"),
        (X, X, X[:, :1], r"v.shape: .*as many heads as q, 2"),
        (X, X, X[:4], r"v.shape: got \[4, 2, 4\], expected the rows of k, \[5\]"),
        (X[..., :0], X[..., :0], X, r"q.shape: .*at least one head of at least one number"),
        (X.expand(2, 5, 2, 4), X.expand(3, 5, 2, 4), X, r"leading dimensions: got 'q \[2\], k \[3\], v \[\]'"),
    ],
    ids=["rank", "dtype", "dtypes", "device", "numbers", "heads", "heads of v", "rows", "none", "leading"],
)
def test_tensors_are_refused_by_name(q, k, v, said) -> None:
    with pytest.raises(InvalidInput, match=said):
        set_attention(q, k, v)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lengths": torch.tensor([1, 4])}, r"lengths\[1\]: got 4, expected a whole number from 0 to 3"),
        ({"lengths": torch.tensor([-1, 2])}, r"lengths\[0\]: got -1"),
        ({"lengths": torch.tensor([1, 2, 3])}, r"lengths: got '?torch.int64 \[3\]"),
        ({"lengths": torch.tensor([1.0, 2.0])}, r"lengths: got '?torch.float32 \[2\]"),
        ({"lengths_k": torch.tensor([1, 2])}, r"lengths: got None"),
        ({"lengths": torch.tensor([1, 2]), "mask": torch.zeros(3, dtype=torch.bool)}, r"mask.shape: got \[3\]"),
        ({"lengths": torch.tensor([1, 2]), "key_bias": torch.zeros(6)}, r"key_bias.shape: got \[6\]"),
        ({"lengths": torch.tensor([1, 2]), "sink": torch.zeros(3, 3, 2)}, r"sink.shape: got \[3, 3, 2\]"),
    ],
    ids=lambda x: "" if isinstance(x, str) else "-".join(x),
)
def test_padded_sets_are_refused_by_name(options, said) -> None:
    x = torch.ones(2, 3, 2, 4)
    with pytest.raises(InvalidInput, match=said):
        set_attention(x, x, x, **options)


def test_other_padding_of_keys_wants_their_lengths() -> None:
    x, y = torch.ones(2, 3, 2, 4), torch.ones(2, 4, 2, 4)
    with pytest.raises(InvalidInput, match=r"lengths_k: got None, expected lengths of the keys, which are padded to 4"):
        set_attention(x, y, y, lengths=torch.tensor([1, 2]))
    with pytest.raises(InvalidInput, match=r"k.shape: .*2 sets, as q has"):
        set_attention(x, y[:1], y[:1], lengths=torch.tensor([1, 2]), lengths_k=torch.tensor([1]))


def test_a_set_all_of_whose_keys_are_hidden_needs_a_sink_or_has_0_unchecked() -> None:
    mask = torch.tensor([True, True, False, False, False])
    with pytest.raises(InvalidInput, match="every key of set 0 hidden"):
        set_attention(X, X, X, cu_q=HERE, mask=mask)
    for options in ({"check": False}, {"sink": torch.zeros(2)}):
        out = set_attention(X, X, X, cu_q=HERE, mask=mask, **options)
        assert bool((out[:2] == 0).all())
        assert bool((out[2:] > 0).all())
    none = set_attention(X, X, X, cu_q=Layout.of([0, 5]), cu_k=HERE, mask=mask)  # nobody looks there
    assert bool((none > 0).all())
