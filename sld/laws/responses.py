"""What a published law predicts, and whether a table's target is that: an allocation is fitted to no loss.

The catalogue says what each law responds with, in the paper's words. Two kinds are told apart for certain: *settings*
(the parameters, tokens, batch or learning rate that are optimal) and *losses* (and errors, perplexities). A law or a
target that is neither fits everything.
"""

from __future__ import annotations

import re
from typing import Literal

from sld.data.card import Target, Variable
from sld.laws.catalogue import CatalogueLaw, kind_of

Kind = Literal["a loss", "a setting of runs", ""]

_LOSS = re.compile(
    r"loss\b|loss\d|\bloss|\berror|perplexity|\bppl\b|entropy|likelihood|\bnll\b|\brisk\b|deviance|\bmse\b|\bmae\b|\brmse\b|"
    r"bits per|\bbpb\b|\bbpc\b|\bnats\b"
)
_SETTING = re.compile(
    r"\boptimal |compute-optimal|critical batch|\bbest (batch|updates)|maximal stable|parameters of the best|"
    r"^learning rate|^weight decay|tokens to train|^optimisation steps|^environment steps|^dense-equivalent|"
    r"^effective extra|^flops?\b"
)
_MEASURED = re.compile(r"acc|score|bleu|\bf1\b|\bauc\b|reward|\belo\b|pass|throughput|per second|\btime\b|\bcost\b")
# of the kinds of quantities that the catalogue tells apart, those that people choose
_CHOSEN = frozenset(
    "parameters data compute learning_rate weight_decay batch steps width depth epochs vocabulary context".split()
)


def law_predicts(law: CatalogueLaw) -> Kind:
    """Return what a law of the catalogue predicts, where its words leave no doubt."""
    if law.category == "generic":
        return ""
    response = law.response.casefold()
    # "final loss at fixed compute", "evaluation loss at Chinchilla-optimal tokens"; "steps to reach a fixed loss"
    setting, loss = _SETTING.search(response), _LOSS.search(response)
    if setting and not (loss and loss.start() < setting.start()):
        return "a setting of runs"
    return "a loss" if loss else ""


def target_is(target: Target) -> Kind:
    """Return what a table's target is, by its column, meaning and unit."""
    for text in (target.column, target.meaning, target.unit):
        words = re.sub(r"[_\-.]+", " ", text.casefold())
        if _LOSS.search(words):
            return "a loss"
        said = Variable(text if text == target.column else words)
        if text and not _MEASURED.search(words) and kind_of(said) in _CHOSEN:
            return "a setting of runs"
    return ""


def unsuited(law: CatalogueLaw, target: Target) -> str:
    """Return why a law of the catalogue cannot be fitted to a target; empty when it can, or nobody knows."""
    predicts, is_ = law_predicts(law), target_is(target)
    if not (predicts and is_) or predicts == is_:
        return ""
    inputs = ", ".join(v.symbol for v in law.variables)
    return (
        f"law {law.id!r} predicts {law.response} from {inputs}, which is {predicts}, and {target.column!r} is {is_}; "
        f'take a law for {is_} (sld laws), or give the formula itself (--law "{law.formula}")'
    )
