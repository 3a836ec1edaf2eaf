"""Statistics of text: n-grams of letters and the growth of a vocabulary."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
from learning_tables import Registry, ladder, over
from measuring import Row, other, scale, target
from numpy.random import Generator, default_rng

from sld.core.arrays import Array

TABLES = Registry()


@cache
def help_text() -> str:
    """Return the texts of Python's help."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


@cache
def library_source() -> str:
    """Return the sources of the modules at the top of Python's library."""
    folder = Path(os.__file__).parent
    return "\n".join(path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("*.py")))


@TABLES.table(
    "ngram_perplexity", "Perplexity of n-grams of letters: text, order and smoothing", "one model",
    [
        scale("n", "characters of training text", "characters", up=True, monotone="decreasing"),
        other("order", "characters of an n-gram", "characters", "hyperparameter"),
        other("pseudo", "pseudo-count of the lower order in the smoothing", "counts", "hyperparameter"),
    ],
    target("perplexity", "perplexity of a character of 20000 held-out ones", "1"),
    max_constants=10, extrapolation="up in text: 131072 characters and more",
    notes=["text of Python's help, its topics shuffled", "each order is smoothed towards the one below"],
    held=over(n=131072),
)  # fmt: skip
def ngram_perplexity() -> Iterator[Row]:
    parts = help_text().split("\n\n")
    text = "\n\n".join(parts[i] for i in default_rng(0).permutation(len(parts)))
    tests, text = text[:20000], text[20000:]
    for n in [2**i for i in range(10, 19)]:
        if n > len(text):
            break
        counts = [Counter(text[i : i + k] for i in range(n - k + 1)) for k in range(7)]
        for pseudo in (0.3, 1.0, 3.0, 10.0):
            p = np.full(len(tests), 1 / 100)
            for order in range(1, 7):
                p = interpolated(counts, order, tests, pseudo, p)
                if order > 1:
                    yield {"n": n, "order": order, "pseudo": pseudo, "perplexity": float(np.exp(-np.log(p).mean()))}


def interpolated(counts: list[Counter[str]], order: int, text: str, pseudo: float, lower: Array) -> Array:
    """Return the probability of each character of `text` after the `order - 1` before it, smoothed towards `lower`."""
    begun = [max(0, i - order + 1) for i in range(len(text))]
    seen = np.array([counts[i + 1 - b][text[b : i + 1]] for i, b in enumerate(begun)])
    context = np.array([counts[i - b][text[b:i]] for i, b in enumerate(begun)])
    return np.asarray((seen + pseudo * lower) / (context + pseudo))


def zipf_words(exponent: float, n: int, rng: Generator) -> list[int]:
    """Return draws of 200,000 words whose frequency falls with rank as a power."""
    weight = np.arange(1, 200_001.0) ** -exponent
    return [int(i) for i in rng.choice(len(weight), n, p=weight / weight.sum())]


@TABLES.table(
    "vocabulary_growth", "Different words over the words read", "one text, read so far",
    [scale("tokens", "words read", "words", up=True, monotone="increasing")],
    target("types", "different words among them", "words", "higher"),
    group=("text", "text: Python's help, Python's library, or draws of a power law of ranks"),
    max_constants=5, extrapolation="up in words: over 20000, training 100 to 18000",
    notes=["texts are read in order: topics and modules by name, so that new subjects come in bursts"],
    held=over(tokens=20000),
)  # fmt: skip
def vocabulary_growth() -> Iterator[Row]:
    texts: dict[str, Sequence[object]] = {
        "help": re.findall(r"[a-z]+", help_text().lower()),
        "library": re.findall(r"[A-Za-z_]\w*", library_source()),
        "ranks 1.0": zipf_words(1.0, 200_000, default_rng(1)),
        "ranks 1.3": zipf_words(1.3, 200_000, default_rng(2)),
    }
    for name, words in texts.items():
        for tokens in ladder(100, 100_000, 22):
            if tokens <= len(words):
                yield {"text": name, "tokens": tokens, "types": len(set(words[:tokens]))}
