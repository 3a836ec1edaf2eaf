"""What the language model has used: tokens and money, with a limit that no call may pass."""

from __future__ import annotations

import math
import re
import threading
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from sld.chat.reply import Reply
from sld.core.errors import DataError, UsageError
from sld.core.toml import Keys

# of a limit as people write it, in dollars or tokens
_UNITS = {"usd": 1.0, "tok": 1.0, "ktok": 1e3, "mtok": 1e6}
_WANTED = "--llm-budget wants dollars, tokens or both: 0.50usd, 200ktok, 1.5Mtok, 0.50usd,200ktok"


@dataclass(frozen=True)
class Limit:
    """What may be spent in all; None is no limit.

    Examples:
        >>> Limit.parse("0.50usd,200ktok")
        Limit(usd=0.5, tokens=200000)
    """

    usd: float | None = None
    tokens: int | None = None

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read "0.50usd", "200ktok", "1.5Mtok", or both with a comma; raises UsageError."""
        found: dict[str, float] = {}
        for part in text.split(","):
            match = re.fullmatch(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*([A-Za-z]+)\s*", part)
            unit = match[2].lower() if match else ""
            if match is None or unit not in _UNITS:
                raise UsageError(f"{_WANTED}; got {part.strip()[:40]!r}")
            kind = "usd" if unit == "usd" else "tokens"
            value = float(match[1]) * _UNITS[unit]
            if kind in found:
                raise UsageError(f"{_WANTED}; got two limits in {kind}: {text[:80]!r}")
            if not 0 < value < 1e15:
                raise UsageError(f"{_WANTED}; got {part.strip()[:40]!r}: it must be above zero and finite")
            found[kind] = value
        tokens = found.get("tokens")
        return cls(usd=found.get("usd"), tokens=None if tokens is None else math.floor(tokens))

    def __str__(self) -> str:
        """Return it as `parse` reads it; empty when there is no limit."""
        parts = [] if self.usd is None else [f"{self.usd:g}usd"]
        return ",".join(parts + ([] if self.tokens is None else [f"{self.tokens}tok"]))


@dataclass(frozen=True)
class Price:
    """USD per million tokens.

    Examples:
        >>> Price(input=1.0, output=2.0, cached=0.1).cost(tokens_in=1000, tokens_out=500)
        0.002
    """

    input: float
    output: float
    cached: float

    def cost(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0) -> float:
        """Return USD for one call; `tokens_cached` are those of `tokens_in` that the provider had in its cache."""
        cached = min(tokens_cached, tokens_in)
        return ((tokens_in - cached) * self.input + cached * self.cached + tokens_out * self.output) / 1e6


def price_of(model: str, file: Path | None = None) -> Price | None:
    """Return the price of `model` from the user's table, then from ours; None when neither has it.

    Raises:
        UsageError: The user's table cannot be read, or is not a price table.
    """
    tables = [] if file is None else [_read_prices(_text_of(file), str(file))]
    ours = resources.files("sld.chat").joinpath("prices.toml").read_text(encoding="utf-8")
    tables.append(_read_prices(ours, "prices.toml"))
    bare = model.rsplit("/", 1)[-1]
    dateless = re.sub(r"-(\d{4}-\d{2}-\d{2}|\d{8}|latest)$", "", bare)
    for table in tables:
        for name in (model, bare, dateless):
            if name in table:
                return table[name]
    return None


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"cannot read the price table {file}: {reason}") from error


def _read_prices(text: str, where: str) -> dict[str, Price]:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{where} is not TOML: {error}") from error
    prices = {}
    for name, row in Keys(data, where, ("model",)).table("model").items():
        keys = Keys(row, f"{where}: model {name!r}", ("input", "cached", "output"))
        values = {k: keys.number(k) for k in ("input", "cached", "output")}
        for key, value in values.items():
            if (value is None and key != "cached") or (value is not None and value < 0):
                raise keys.wrong(key, "USD per million tokens, zero or more")
        cached = values["input"] if values["cached"] is None else values["cached"]
        assert values["input"] is not None and values["output"] is not None and cached is not None
        prices[name] = Price(values["input"], values["output"], cached)
    return prices


@dataclass(frozen=True)
class Booking:
    """What one call used."""

    tokens_in: int
    tokens_out: int
    cost_usd: float | None
    cached: bool = False
    estimated: bool = False
    failed: bool = False

    @classmethod
    def of(cls, reply: Reply) -> Booking:
        """Return what `reply` used."""
        return cls(
            reply.tokens_in,
            reply.tokens_out,
            reply.cost_usd,
            cached=reply.cached,
            estimated=reply.estimated,
            failed=bool(reply.status),
        )


@dataclass
class Reservation:
    """Room kept for a call that is on its way."""

    tokens: int
    usd: float


@dataclass
class _Totals:
    calls: int = 0
    cached: int = 0
    failed: int = 0
    estimated: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    costs: list[float] = field(default_factory=list)
    unpriced: int = 0


class Ledger:
    """Tokens and cost of all calls of a run; any thread may read and write it.

    Examples:
        >>> ledger = Ledger(Limit(tokens=1000))
        >>> ledger.reserve(900, 200)
        '0 of 1000 tokens are used, and the next call may take 1100'
    """

    def __init__(self, limit: Limit | None = None, price: Price | None = None, earlier: Iterable[Booking] = ()) -> None:
        """Start from what `earlier` calls of the same run used.

        Raises:
            UsageError: The limit is in dollars and the model has no price.
        """
        self.limit = limit or Limit()
        self.price = price
        if self.limit.usd is not None and price is None:
            raise UsageError(
                "a limit in dollars needs the model's price, and the table has none: "
                "give one with --llm-prices FILE, or limit tokens (--llm-budget 200ktok)"
            )
        self._lock = threading.Lock()
        self._totals = _Totals()
        self._reserved: list[Reservation] = []
        for booking in earlier:
            self._add(booking)

    def cost(self, tokens_in: int, tokens_out: int, tokens_cached: int = 0) -> float | None:
        """Return USD by the price of the model; None when it has none."""
        return None if self.price is None else self.price.cost(tokens_in, tokens_out, tokens_cached)

    def room(self, tokens_in: int, tokens_out: int = 0) -> str:
        """Return "" if a call of that size may be made, else the reason why none may."""
        with self._lock:
            return self._room(tokens_in, tokens_out)

    def reserve(self, tokens_in: int, tokens_out: int) -> Reservation | str:
        """Keep room for a call until it is settled, so that calls side by side cannot pass the limit together."""
        with self._lock:
            reason = self._room(tokens_in, tokens_out)
            if reason:
                return reason
            reservation = Reservation(tokens_in + tokens_out, self.cost(tokens_in, tokens_out) or 0.0)
            self._reserved.append(reservation)
            return reservation

    def settle(self, reservation: Reservation | None, booking: Booking | None) -> None:
        """Give the room free and book what the call really used, if anything."""
        with self._lock:
            self._reserved = [r for r in self._reserved if r is not reservation]
            if booking is not None:
                self._add(booking)

    @property
    def tokens(self) -> int:
        """All tokens, in and out."""
        with self._lock:
            return self._totals.tokens_in + self._totals.tokens_out

    @property
    def cost_usd(self) -> float | None:
        """All costs; None when a call had no price."""
        with self._lock:
            return self._cost()

    def to_json(self) -> dict[str, Any]:
        """Return the totals, and the limit they are held against."""
        with self._lock:
            t = self._totals
            return {
                "calls": t.calls,
                "cached": t.cached,
                "failed": t.failed,
                "estimated": t.estimated,
                "tokens_in": t.tokens_in,
                "tokens_out": t.tokens_out,
                "cost_usd": self._cost(),
                "limit": str(self.limit),
            }

    def _cost(self) -> float | None:
        return None if self._totals.unpriced else math.fsum(self._totals.costs)

    def _room(self, tokens_in: int, tokens_out: int) -> str:
        t = self._totals
        wanted = tokens_in + tokens_out
        if self.limit.tokens is not None:
            used = t.tokens_in + t.tokens_out + sum(r.tokens for r in self._reserved)
            if used + wanted > self.limit.tokens:
                return f"{used} of {self.limit.tokens} tokens are used, and the next call may take {wanted}"
        if self.limit.usd is not None:
            assert self.price is not None
            spent = math.fsum(t.costs) + math.fsum(r.usd for r in self._reserved)
            next_usd = self.price.cost(tokens_in, tokens_out)
            if spent + next_usd > self.limit.usd:
                return f"{spent:.4f} of {self.limit.usd:g} USD are spent, and the next call may cost {next_usd:.4f}"
        return ""

    def _add(self, booking: Booking) -> None:
        t = self._totals
        t.calls += 1
        t.cached += booking.cached
        t.failed += booking.failed
        t.estimated += booking.estimated
        t.tokens_in += booking.tokens_in
        t.tokens_out += booking.tokens_out
        if booking.cost_usd is None:
            t.unpriced += 1
        elif booking.cost_usd:
            t.costs.append(booking.cost_usd)
