"""Counts of a run's model from the settings that a tracker kept, for tables of runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sld.core.errors import SldError
from sld.data.counting.counted import CONVENTIONS, ModelCount, count

PREFIX = "count."  # of the settings that are added, so that they stand apart from those that were kept
_TYPE = "model_type"  # the key that every Hugging Face configuration has


def counted_settings(settings: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of the model that a run's settings describe; empty where they describe none that is known.

    >>> sizes = {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
    >>> gpt2 = {"model_type": "gpt2", **sizes}
    >>> found = counted_settings({f"model.{key}": value for key, value in gpt2.items()} | {"lr": 1e-3})
    >>> found["count.non_embedding"], found["count.total"], sorted(found)[-1]
    (85056000, 124439808, 'count.trainer')

    Args:
        settings: Name to value; those of the model may stand in a folder of their own (`model.hidden_size`).
    """
    counted = count_of_settings(settings)
    if counted is None:
        return {}
    return {PREFIX + name.replace("-", "_"): counted.parameters(name) for name in CONVENTIONS}


def convention_of_setting(name: str) -> str:
    """Return which convention a setting of `counted_settings` is, as a card says it; empty for any other setting.

    >>> convention_of_setting("count.non_embedding"), convention_of_setting("n_params")
    ('non-embedding', '')
    """
    convention = name.removeprefix(PREFIX).replace("_", "-") if name.startswith(PREFIX) else ""
    return convention if convention in CONVENTIONS else ""


def count_of_settings(settings: Mapping[str, Any]) -> ModelCount | None:
    """Return the counts of the model in a run's settings, or None where they describe none that is known."""
    for key in sorted((str(key) for key in settings if str(key).endswith(_TYPE)), key=len):
        prefix = key[: -len(_TYPE)]
        if prefix and prefix[-1] not in "./":
            continue
        config = {str(name)[len(prefix) :]: value for name, value in settings.items() if str(name).startswith(prefix)}
        try:
            return count(config)
        except SldError:  # another kind of model, or settings that lack its sizes
            continue
    return None
