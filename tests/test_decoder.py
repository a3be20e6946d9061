"""Decoders: sizes, order, memory, batches of networks, training, files, and texts drawn from them."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.testing import assert_close

from gamesim.attention.blocks import SetAttention
from gamesim.errors import InvalidInput
from gamesim.kernels import fused
from gamesim.networks.adam import Trained, descended
from gamesim.networks.stateless import Stateless
from gamesim.randomness import Stream
from gamesim.sequence.decoder import Decoder, DecoderBlock
from gamesim.sequence.generation import generate, law
from gamesim.sequence.training import Training, cross_entropies, train
from gamesim.sequence.weights import digest, load, save
from gamesim.simplex import drawn

SIZES = {"vocabulary": 7, "width": 16, "heads": 2, "blocks": 2, "context": 12}


def small(seed: int = 0) -> Decoder:
    return Decoder(**SIZES).reset(torch.Generator().manual_seed(seed))


def texts(*shape: int, most: int = 7, seed: int = 0) -> Tensor:
    return torch.randint(0, most, shape, generator=torch.Generator().manual_seed(seed))


def test_it_has_as_many_numbers_as_it_says() -> None:
    decoder = Decoder(34, width=48, heads=4, blocks=2, context=49)
    assert decoder.size == sum(x.numel() for x in decoder.parameters()) == 62_290


class Reference(nn.Module):
    """The same network of torch's own parts."""

    def __init__(self, own: Decoder) -> None:
        super().__init__()
        self.own = own

    def forward(self, tokens: Tensor) -> Tensor:
        own, length = self.own, tokens.shape[-1]
        x = own.tokens[tokens] + own.places[:length]
        for block in own.blocks:
            assert isinstance(block, DecoderBlock)
            y = nn.functional.layer_norm(x, (own.width,), block.first_norm.scale, block.first_norm.shift)
            inward, out = block.attention.projection, block.attention.out
            assert isinstance(block.attention, SetAttention)
            assert out is not None
            q, k, v = (y @ inward.weight + inward.bias).unflatten(-1, (3, own.heads, -1)).permute(2, 0, 3, 1, 4)
            heads = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + heads.transpose(1, 2).flatten(-2) @ out.weight + out.bias
            y = nn.functional.layer_norm(x, (own.width,), block.second_norm.scale, block.second_norm.shift)
            y = nn.functional.gelu(y @ block.first.weight + block.first.bias)
            x = x + y @ block.second.weight + block.second.bias
        x = nn.functional.layer_norm(x, (own.width,), own.norm.scale, own.norm.shift)
        return x @ own.head.weight + own.head.bias


def test_logits_and_gradients_are_those_of_torchs_own_parts() -> None:
    decoder, tokens = small().double(), texts(3, 12)
    found, wanted = decoder(tokens), Reference(decoder)(tokens)
    assert_close(found, wanted)
    with fused(False):
        assert_close(decoder(tokens), wanted)
    leaves = list(decoder.parameters())
    for one, other in zip(*(torch.autograd.grad(x.square().sum(), leaves) for x in (found, wanted)), strict=True):
        assert_close(one, other)


def test_a_token_sees_those_before_it_alone() -> None:
    decoder, tokens = small(), texts(3, 12)
    later = tokens.clone()
    later[:, 8:] = (later[:, 8:] + 1) % 7
    whole, other = decoder(tokens), decoder(later)
    assert torch.equal(whole[:, :8], other[:, :8])
    assert not torch.isclose(whole[:, 8], other[:, 8]).all()


def test_remembered_or_read_anew_logits_are_the_same() -> None:
    decoder, tokens = small(), texts(3, 2, 12)
    whole = decoder(tokens)
    memory, found = decoder.begin((3, 2)), []
    for part in (tokens[..., :5], tokens[..., 5:6], tokens[..., 6:9], tokens[..., 9:]):
        before = memory
        logits, memory = decoder.extend(memory, part)
        again, _ = decoder.extend(before, part)  # nothing was written into what it came from
        assert torch.equal(logits, again)
        found.append(logits)
    assert_close(torch.cat(found, -2), whole, atol=1e-5, rtol=1e-5)
    assert memory.length.tolist() == [[12, 12]] * 3


def test_runs_may_remember_different_numbers_of_tokens() -> None:
    decoder, tokens = small(), texts(4, 12)
    whole, starts = decoder(tokens), [8, 3, 5, 0]
    _, memory = decoder.extend(decoder.begin((4,)), tokens[:, :9])
    memory = memory.first(torch.tensor(starts))
    logits, memory = decoder.extend(memory, torch.stack([tokens[i, n : n + 3] for i, n in enumerate(starts)]))
    for i, n in enumerate(starts):
        assert_close(logits[i], whole[i, n : n + 3], atol=1e-5, rtol=1e-5)
    part = memory.at(torch.tensor([2]))
    logits, _ = decoder.extend(part, tokens[2:3, 8:9])
    assert_close(logits[0, 0], whole[2, 8], atol=1e-5, rtol=1e-5)


def test_several_networks_at_once_are_each_alone() -> None:
    network, tokens = Stateless(Decoder(**SIZES)), texts(3, 2, 12)
    weights = network.draw((3,), Stream([0, 1, 2]))
    many = network(weights, tokens)
    held = Decoder(**SIZES).holding(weights)
    assert held.front == (3,)
    assert held.size == network.size
    assert torch.equal(held(tokens), many)
    memory, found = held.begin((3, 2)), []
    for part in (tokens[..., :4], tokens[..., 4:]):
        logits, memory = held.extend(memory, part)
        found.append(logits)
    assert_close(torch.cat(found, -2), many, atol=1e-5, rtol=1e-5)
    for i in range(3):
        assert_close(network(tuple(x[i] for x in weights), tokens[i]), many[i], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (texts(2, 13), "tokens: got '13 of them', expected at most 12"),
        (texts(2, 3) + 6, "tokens: got 1?[0-9], expected whole numbers from 0 to 6"),
        (-texts(2, 3) - 1, "tokens: got -[0-9], expected whole numbers from 0 to 6"),
        (texts(2, 3).float(), "tokens.dtype: got torch.float32"),
        (texts(2, 0), r"tokens.shape: got \[2, 0\]"),
    ],
    ids=["long", "above", "below", "floats", "none"],
)
def test_texts_that_do_not_fit_are_refused(tokens: Tensor, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        small()(tokens)
    with pytest.raises(InvalidInput):
        small().extend(small().begin((2,)), tokens)


def test_full_memories_and_wrong_sizes_are_refused() -> None:
    decoder = small()
    _, memory = decoder.extend(decoder.begin((2,)), texts(2, 12))
    with pytest.raises(InvalidInput, match="at most 12, the context"):
        decoder.extend(memory, texts(2, 1))
    with pytest.raises(InvalidInput, match=r"memory: got .of runs \[2\]., expected of runs \[3\]"):
        decoder.extend(memory, texts(3, 1))
    with pytest.raises(InvalidInput, match="a multiple of heads"):
        Decoder(7, width=10, heads=3)
    with pytest.raises(InvalidInput, match="vocabulary: got 0"):
        Decoder(0)
    network = Stateless(Decoder(**SIZES))
    one, two = network.draw((), Stream(0)), network.draw((2,), Stream([0, 1]))
    with pytest.raises(InvalidInput, match="leading dimensions"):
        decoder.holding((*one[:3], *two[3:]))


# --- training ---------------------------------------------------------------------------------------------------------


def counted(t: int, generator: Stream) -> tuple[Tensor, Tensor]:
    """Texts that count upwards from anywhere, modulo 7; what comes first cannot be known, and is not asked for."""
    begin = (generator.uniform((*generator.front, 16, 1)) * 7).long()
    text = (begin + torch.arange(13)) % 7
    return text[..., :-1].contiguous(), text[..., 1:].contiguous()


def test_training_learns_what_can_be_learned() -> None:
    done = train(Decoder(**SIZES), counted, 80, seed=0, step_size=1e-2, warm_up=10)
    assert done.losses[0] == pytest.approx(math.log(7), rel=0.5)
    assert done.losses[-1] < 0.05
    told = generate(Decoder(**SIZES).holding(done.weights), torch.tensor([[3], [6]]), 8, Stream(0), temperature=0)
    assert told.tolist() == [[(n + i) % 7 for i in range(9)] for n in (3, 6)]


def test_seeds_side_by_side_and_resumed_runs_have_the_same_numbers() -> None:
    whole = train(Decoder(**SIZES), counted, 6, seed=1, warm_up=2)
    shown = list[Training]()
    part = train(Decoder(**SIZES), counted, 6, seed=1, warm_up=2, until=4, observe=shown.append, every=2)
    assert [one.step for one in shown] == [2, 4]
    rest = train(Decoder(**SIZES), counted, 6, seed=1, warm_up=2, resume=part)
    assert torch.equal(rest.losses, whole.losses)
    assert all(map(torch.equal, rest.weights, whole.weights))
    both = train(Decoder(**SIZES), counted, 6, seed=[0, 1], warm_up=2)
    assert_close(both.losses[1], whole.losses, atol=1e-4, rtol=1e-4)


def test_places_without_a_target_have_no_loss() -> None:
    logits, targets = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)), texts(2, 3, 4, most=5)
    targets[0, :, 1:] = -1
    targets[1] = -1
    found = cross_entropies(logits, targets, 1)
    wanted = -logits[0].log_softmax(-1)[:, 0].gather(-1, targets[0, :, :1]).mean()
    assert_close(found, torch.stack([wanted, torch.zeros(())]))
    with pytest.raises(InvalidInput, match="targets"):
        cross_entropies(logits, targets[:1])


def test_adam_with_decay_is_torchs() -> None:
    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    trained, other = Trained.fresh((x,)), nn.Parameter(x.clone())
    torchs = torch.optim.AdamW([other], lr=0.05, weight_decay=0.3, eps=1e-8)
    for t in range(5):
        torchs.zero_grad()
        (other.sin().sum() * (t + 1)).backward()  # type: ignore[no-untyped-call]
        trained = descended(trained, (trained.parameters[0].cos() * (t + 1),), 0.05, t + 1, decay=0.3, small=1e-8)
        torchs.step()
        assert_close(trained.parameters[0], other.data)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"warm_up": 0}, {"decay": -1.0}, {"step_size": math.nan}])
def test_training_refuses_what_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        train(Decoder(**SIZES), counted, **{"steps": 3, "seed": 0, **wrong})


# --- texts ------------------------------------------------------------------------------------------------------------


def test_laws_of_tokens() -> None:
    logits = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    assert_close(law(logits, 0.5), torch.tensor([16.0, 9, 4, 1], dtype=torch.float64) / 30)
    assert_close(law(logits, top_p=0.4), torch.tensor([1.0, 0, 0, 0], dtype=torch.float64), atol=1e-6, rtol=0)
    assert_close(law(logits, top_p=0.41), torch.tensor([4 / 7, 3 / 7, 0, 0], dtype=torch.float64), atol=1e-6, rtol=0)
    for wrong in ({"temperature": -1.0}, {"temperature": math.inf}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(InvalidInput, match=next(iter(wrong))):
            law(logits, **wrong)


def test_tokens_of_probability_0_are_never_drawn() -> None:
    one = torch.tensor([0.0, 0.1, 0.0, 0.2, 0.3, 0.0]).double() / 0.6
    u = torch.cat([torch.linspace(1e-9, 1 - 1e-9, 9999), torch.tensor([2**-53, 1 - 2**-53])]).double()
    found = drawn(one.expand(len(u), 6), u)
    assert_close(torch.bincount(found, minlength=6) / len(u), one, atol=1e-3, rtol=0, check_dtype=False)
    assert not {0, 2, 5} & set(found.tolist())


def test_generation_has_the_law_of_the_decoder() -> None:
    decoder, count = small(3), 8000
    with torch.no_grad():
        decoder.head.weight.mul_(3)
    begun = torch.full((count, 1), 2)
    told = generate(decoder, begun, 2, Stream(0), temperature=0.8)
    pairs = torch.cartesian_prod(torch.tensor([2]), torch.arange(7), torch.arange(7))
    with torch.no_grad():
        p = law(decoder(pairs), 0.8)[:, :2].gather(-1, pairs[:, 1:, None]).squeeze(-1).prod(-1) * count
    seen = torch.bincount(told[:, 1] * 7 + told[:, 2], minlength=49)
    often = p > 5
    assert float(((seen - p).square() / p)[often].sum()) < 49 + 4 * math.sqrt(2 * 49)
    again = generate(decoder, begun[:5], 2, Stream(list(range(5))))
    assert torch.equal(generate(decoder, begun[3:4], 2, Stream([3]))[0], again[3])
    with pytest.raises(InvalidInput, match="the context is 12"):
        generate(decoder, begun[:2], 12, Stream(0))


# --- files ------------------------------------------------------------------------------------------------------------


def test_files_give_back_what_was_saved(tmp_path: Path) -> None:
    decoder, words = small(), [f"word {i}" for i in range(7)]
    path = save(tmp_path / "a.safetensors", decoder, words=words, about={"stream": "counting", "steps": 3})
    found = load(path)
    assert found.words == tuple(words)
    assert found.about == {"stream": "counting", "steps": 3}
    assert found.decoder.sizes == decoder.sizes
    assert torch.equal(found.decoder(texts(2, 12)), decoder(texts(2, 12)))
    assert not any(x.requires_grad for x in found.decoder.parameters())
    weights = Stateless(Decoder(**SIZES)).draw((2,), Stream([0, 1]))
    many = load(save(tmp_path / "b.safetensors", decoder, weights)).decoder
    assert all(map(torch.equal, many.parameters(), weights))
    assert save(tmp_path / "c.safetensors", decoder, words=words).read_bytes() == (
        save(tmp_path / "d.safetensors", decoder, words=words).read_bytes()
    )


def broken(path: Path, change: dict[str, Any], tensors: dict[str, Tensor] | None = None) -> Path:
    """A file whose header says something else."""
    own = {name: x.detach().clone() for name, x in small().named_parameters()} if tensors is None else tensors
    note = {"format": "gamesim-decoder/1", "sizes": SIZES, "front": [], "words": [], "about": {}, "sha256": digest(own)}
    save_file(own, path, metadata={"gamesim": json.dumps(note | change)})
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "header: got 'other'"),
        ({"sizes": SIZES | {"width": 10**9}}, "width: got 1000000000"),
        ({"sizes": SIZES | {"heads": 3}}, "a multiple of heads"),
        ({"sizes": SIZES | {"width": 32}}, r"tokens: got .F32 \[7, 16\]., expected F32 or F64 \[7, 32\]"),
        ({"sizes": SIZES | {"blocks": 3}}, "lacking"),
        ({"sizes": SIZES | {"blocks": 1}}, "there"),
        ({"sizes": SIZES | {"depth": 1}}, "sizes"),
        ({"sizes": None}, "a JSON dict"),
        ({"front": [2]}, r"\[2, 7, 16\]"),
        ({"front": [0]}, "front: got 0"),
        ({"words": ["a"]}, "words: got .1 of them"),
        ({"sha256": "0" * 64}, "sha256"),
    ],
    ids=str,
)
def test_headers_that_say_something_else_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as refused:
        load(broken(tmp_path / "a.safetensors", change))
    assert "\n" not in str(refused.value)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.safetensors", small())
    whole = path.read_bytes()
    for name, content in (("cut", whole[:-10]), ("short", whole[:40]), ("none", b""), ("long", whole + b"0")):
        (tmp_path / f"{name}.safetensors").write_bytes(content)
        with pytest.raises(InvalidInput, match="damaged"):
            load(tmp_path / f"{name}.safetensors")
    (tmp_path / "flipped.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 64]))
    with pytest.raises(InvalidInput, match="sha256"):
        load(tmp_path / "flipped.safetensors")
    wrong = {name: x.detach().clone() for name, x in small().named_parameters()}
    wrong["places"][3, 4] = math.nan
    with pytest.raises(InvalidInput, match=r"places: got .a number that is not finite"):
        load(broken(tmp_path / "nan.safetensors", {}, wrong))
    with pytest.raises(InvalidInput, match="not finite"):
        save(tmp_path / "b.safetensors", small().holding(tuple(wrong.values())))
    for name in ("none-there.safetensors", "weights.pt"):
        with pytest.raises(InvalidInput):
            load(tmp_path / name)
    with pytest.raises(InvalidInput, match="safetensors"):
        save(tmp_path / "weights.pt", small())
    with pytest.raises(InvalidInput, match="7, one for each token"):
        save(tmp_path / "b.safetensors", small(), words=["a"])
    assert not (tmp_path / "b.safetensors").exists()
