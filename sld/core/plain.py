"""Values in JSON's own types."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any


def _nothing(_: float) -> None:
    return None


def plain(value: Any, *, not_finite: Callable[[float], Any] = _nothing, other: Callable[[Any], Any] = str) -> Any:
    """Return `value` in JSON's own types.

    Args:
        value: Mappings, sequences, arrays and numbers of numpy, to any depth.
        not_finite: What a number becomes that is none or has no end, since JSON has no word for it; None by default.
        other: What anything else becomes; its text by default.

    >>> from pathlib import Path
    >>> plain({1: (0.5, float("nan")), "place": Path("law.json")})
    {'1': [0.5, None], 'place': 'law.json'}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item, not_finite=not_finite, other=other) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, not_finite=not_finite, other=other) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else not_finite(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "tolist"):  # arrays and numbers of numpy
        return plain(value.tolist(), not_finite=not_finite, other=other)
    return other(value)
