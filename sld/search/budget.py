"""How long a search may go on: seconds of wall time, or local fits."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sld.core.errors import UsageError

DEFAULT_BUDGET = "30s"  # what somebody waits for without doing something else
SEARCH_SHARE = 0.85  # of the budget; the rest is for judging the finalists again
_MOST = 1e15  # what a float still counts one by one


@dataclass(frozen=True)
class Budget:
    """How long to search: seconds of wall time, or local fits (repeatable bit for bit)."""

    seconds: float | None = None
    fits: int | None = None

    @staticmethod
    def parse(text: str) -> Budget:
        """Read "60s", "5min", "1h" or "20000fits".

        Raises:
            UsageError: Anything else.
        """
        if not isinstance(text, str):  # a number without a unit says nothing
            said = (
                f'budget="{text}s" for seconds or budget="{text}fits" for fits'
                if _is_number(text)
                else "60s, 20000fits"
            )
            raise UsageError(f"budget is text with a unit, got {text!r}: {said}")
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|sec|min|m|h|fits|fit)\s*", text)
        amount = float(match[1]) if match else 0.0
        whole = match is not None and match[2].startswith("fit")
        if match is None or not 0 < amount < _MOST or (whole and amount != int(amount)):
            raise UsageError(f"budget is a time or a number of fits, e.g. 60s, 5min or 20000fits; got {text!r}")
        if whole:
            return Budget(fits=int(amount))
        return Budget(seconds=amount * {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}[match[2]])

    def spent(self, n_fits: int, seconds: float) -> float:
        """Return the share that is used after so many fits and seconds, 0 to 1."""
        if self.fits is not None:
            return min(1.0, n_fits / self.fits)
        assert self.seconds is not None
        return min(1.0, seconds / self.seconds)

    def left(self, n_fits: int, seconds: float) -> str:
        """Return in words what is left after so many fits and seconds."""
        if self.fits is not None:
            return f"{max(0, self.fits - n_fits)} of {self.fits} fits"
        assert self.seconds is not None
        return f"{max(0.0, self.seconds - seconds):.0f} of {self.seconds:g} seconds"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
