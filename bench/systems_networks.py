"""Seconds, rates and bytes of neural networks on a CPU: steps of training, decoding, what a backward pass keeps."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from measuring import other, scale, target
from systems_tables import SECONDS, Registry, Rows, seconds, torch_on_one_thread

TABLES = Registry()


@TABLES.table(
    lambda r: r["width"] >= 384 or r["depth"] >= 8,
    ["torch"],
    title="Transformer on a CPU: seconds of a step over six sizes",
    row="one step after one to warm up",
    variables=[
        scale("width", "width of the model", "units", up=True),
        scale("depth", "layers", "layers", up=True),
        other("heads", "attention heads", "heads"),
        scale("batch", "sequences", "sequences"),
        scale("seq", "length of a sequence", "tokens"),
        scale("vocab", "entries of the vocabulary", "tokens"),
    ],
    targets=[SECONDS],
    group="pass",
    group_meaning="forward alone, or forward and backward",
    max_constants=12,
    extrapolation="up in size: width 384, or 8 layers",
    notes=["settings drawn at random from short lists", "feed-forward width four times the width"],
)
def transformer_step() -> Rows:
    torch = torch_on_one_thread()
    rng = np.random.default_rng(6)
    for _ in range(60):
        at = {
            "width": int(rng.choice([64, 96, 128, 192, 256, 384])),
            "depth": int(rng.choice([1, 2, 3, 4, 6, 8])),
            "heads": int(rng.choice([2, 4, 8])),
            "batch": int(rng.choice([1, 2, 4, 8])),
            "seq": int(rng.choice([32, 64, 128])),
            "vocab": int(rng.choice([500, 2000, 8000])),
        }
        embed, body, head = _transformer(torch, at["width"], at["depth"], at["heads"], at["vocab"])
        tokens = torch.randint(at["vocab"], (at["batch"], at["seq"]))

        def forward(embed: Any = embed, body: Any = body, head: Any = head, tokens: Any = tokens) -> Any:
            logits = head(body(embed(tokens)))
            return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())

        def inference(forward: Callable[[], Any] = forward) -> None:
            with torch.no_grad():
                forward()

        def training(forward: Callable[[], Any] = forward) -> None:
            forward().backward()

        for name, call in (("forward", inference), ("forward and backward", training)):
            call()
            yield {"pass": name, **at, "seconds": seconds(call)}


def _transformer(torch: Any, width: int, depth: int, heads: int, vocab: int) -> tuple[Any, Any, Any]:
    nn = torch.nn
    layer = nn.TransformerEncoderLayer(width, heads, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
    body = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
    return nn.Embedding(vocab, width), body, nn.Linear(width, vocab)


@TABLES.table(
    lambda r: r["width"] * r["depth"] >= 1024,
    ["torch"],
    timed=False,
    title="Bytes that a transformer keeps for its backward pass",
    row="one forward pass, counted",
    variables=[
        scale("width", "width of the model", "units", up=True, monotone="increasing"),
        scale("depth", "layers", "layers", up=True, monotone="increasing"),
        scale("batch", "sequences", "sequences", monotone="increasing"),
        scale("seq", "length of a sequence", "tokens", monotone="increasing"),
    ],
    targets=[target("bytes", "activations kept for the backward pass, each once, without weights", "bytes")],
    max_constants=8,
    extrapolation="up in size: width x depth of 1024 and more",
    notes=["exact: a second count gives the same", "attention keeps its scores", "4 heads, vocabulary of 1000"],
)
def saved_activations() -> Rows:
    torch = torch_on_one_thread()
    for width, depth in itertools.product((32, 64, 128, 256), (1, 2, 4, 8)):
        parts = _transformer(torch, width, depth, 4, 1000)
        weights = {p.untyped_storage().data_ptr() for part in parts for p in part.parameters()}
        for batch, seq in itertools.product((1, 3, 8), (16, 64, 128)):
            kept = _kept(torch, parts, torch.randint(1000, (batch, seq)))
            total = sum(size for at, size in kept.items() if at not in weights)
            yield {"width": width, "depth": depth, "batch": batch, "seq": seq, "bytes": total}


def _kept(torch: Any, parts: tuple[Any, Any, Any], tokens: Any) -> dict[int, int]:
    """Return the bytes of every storage that autograd keeps, by its address."""
    embed, body, head = parts
    kept: dict[int, int] = {}

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    whole_scores = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), whole_scores:
        logits = head(body(embed(tokens)))
        # the result holds what was kept, so that no address is used twice before the count is done
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
    del loss
    return kept


@TABLES.table(
    lambda r: r["hidden"] >= 512,
    ["torch"],
    title="LSTM on a CPU: seconds of a training step",
    row="one step after one to warm up",
    variables=[
        scale("hidden", "units of the one layer, and of its input", "units", up=True),
        scale("batch", "sequences", "sequences"),
        scale("seq", "steps of a sequence", "steps"),
    ],
    targets=[SECONDS],
    max_constants=8,
    extrapolation="up in units: 512",
)
def lstm_step() -> Rows:
    torch = torch_on_one_thread()
    for hidden, batch, seq in itertools.product((32, 64, 128, 256, 512), (1, 4, 16, 64), (8, 32, 64)):
        layer = torch.nn.LSTM(hidden, hidden, batch_first=True)
        x = torch.randn(batch, seq, hidden)

        def step(layer: Any = layer, x: Any = x) -> None:
            layer(x)[0].square().mean().backward()

        step()
        yield {"hidden": hidden, "batch": batch, "seq": seq, "seconds": seconds(step)}


@TABLES.table(
    lambda r: r["context"] >= 2048 or r["batch"] >= 16,
    ["torch"],
    title="Decoding with a cache: tokens per second over context and batch",
    row="four tokens of each sequence, median of five timings",
    variables=[
        scale("context", "tokens in the cache", "tokens", up=True),
        scale("batch", "sequences decoded together", "sequences", up=True),
    ],
    targets=[target("rate", "tokens per second, of all sequences together", "tokens/s", "higher")],
    group="width",
    group_meaning="width of the model, four layers",
    max_constants=6,
    extrapolation="up: contexts of 2048 and 4096, or batch 16",
)
def cached_decoding() -> Rows:
    torch = torch_on_one_thread()
    contexts = [16, 64, 128, 256, 512, 1024, 2048, 4096]
    for width, batch, context in itertools.product((128, 256), (1, 2, 4, 8, 16), contexts):
        if context * batch <= 32768:
            decode = _decoder(torch, width, batch, context)
            decode(1)
            rate = 4 * batch / seconds(partial(decode, 4), 5)
            yield {"width": f"w{width}", "context": context, "batch": batch, "rate": rate}


def _decoder(torch: Any, width: int, batch: int, context: int, depth: int = 4, heads: int = 4) -> Callable[[int], None]:
    """Return a call that decodes so many tokens of each sequence, against caches of a fixed length."""
    shapes = ((3 * width, width), (width, width), (4 * width, width), (width, 4 * width))
    layers = [[torch.randn(shape) / width**0.5 for shape in shapes] for _ in range(depth)]
    caches = [torch.randn(2, batch, heads, context, width // heads) for _ in range(depth)]
    unembed = torch.randn(4000, width)

    def token() -> Any:
        x = torch.ones(batch, width)
        for (qkv, out, up, down), cache in zip(layers, caches, strict=True):
            q, k, v = (x @ qkv.T).view(batch, 3, heads, 1, width // heads).unbind(1)
            cache[0][:, :, -1:], cache[1][:, :, -1:] = k, v
            mixed = torch.nn.functional.scaled_dot_product_attention(q, cache[0], cache[1])
            x = x + mixed.reshape(batch, width) @ out.T
            x = x + torch.relu(x @ up.T) @ down.T
            x = torch.nn.functional.layer_norm(x, (width,))
        return (x @ unembed.T).argmax(-1)

    def decode(tokens: int) -> None:
        for _ in range(tokens):
            token()

    return decode
