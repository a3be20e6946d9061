"""Texts drawn from a decoder, many at a time, each token from the law of the next one given those so far.

temperature tau    p(v) ~ exp(logit_v / tau);    0 takes the likeliest token, of equals the first
top_p              the fewest likeliest tokens that have a probability of at least top_p together, and no others
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from gamesim.errors import refuse
from gamesim.randomness import Stream
from gamesim.sequence.decoder import Decoder
from gamesim.simplex import drawn, nucleus


def law(logits: Tensor, temperature: float = 1.0, top_p: float = 1.0) -> Tensor:
    """The law of a token, [..., token] in float64, of logits[..., token].

    >>> law(torch.tensor([0.0, 1.0, 1.0]), temperature=0)
    tensor([0., 1., 0.], dtype=torch.float64)
    >>> law(torch.tensor([0.5, 0.3, 0.2]).log(), top_p=0.7)
    tensor([0.6250, 0.3750, 0.0000], dtype=torch.float64)
    """
    if not (math.isfinite(temperature) and temperature >= 0):
        raise refuse("temperature", temperature, "a number of at least 0")
    if not 0 < top_p <= 1:
        raise refuse("top_p", top_p, "a number above 0 and at most 1")
    if temperature == 0:
        return one_hot(logits.argmax(-1), logits.shape[-1]).to(torch.float64)
    found: Tensor = (logits.to(torch.float64) / temperature).softmax(-1)
    return nucleus(found, top_p) if top_p < 1 else found


def generate(
    decoder: Decoder, prompt: Tensor, tokens: int, generator: Stream, *, temperature: float = 1.0, top_p: float = 1.0
) -> Tensor:
    """prompt[..., b, L], long, with so many tokens behind it: [..., b, L + tokens].

    A batch of seeds is the first dimension. Raises InvalidInput where the text would be longer than the context.
    """
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 0:
        raise refuse("tokens", tokens, "a whole number from 0")
    if prompt.shape[-1] + tokens > decoder.context:
        raise refuse(
            "tokens", tokens, f"at most {decoder.context - prompt.shape[-1]}: the context is {decoder.context}"
        )
    batch = tuple(prompt.shape[:-1])
    memory, text = decoder.begin(batch), [prompt]
    for _ in range(tokens):
        logits, memory = decoder.extend(memory, text[-1])
        u = generator.uniform(batch, device=prompt.device)
        text.append(drawn(law(logits[..., -1, :], temperature, top_p), u)[..., None])
    return torch.cat(text, -1)
