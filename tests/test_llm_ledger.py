"""Limits, prices and totals."""

import threading
from pathlib import Path

import pytest
from many_cases import each

from sld.chat.ledger import Booking, Ledger, Limit, Price, Reservation, price_of
from sld.core.errors import UsageError

PRICE = Price(input=2.0, output=8.0, cached=0.5)


@each(
    ("text", "limit"),
    [
        ("0.50usd", Limit(usd=0.5)),
        ("200ktok", Limit(tokens=200_000)),
        ("1.5Mtok", Limit(tokens=1_500_000)),
        (" 300 tok ", Limit(tokens=300)),
        ("0.5usd,200ktok", Limit(usd=0.5, tokens=200_000)),
        ("2ktok, .25USD", Limit(usd=0.25, tokens=2_000)),
    ],
)
def test_a_limit_is_read(text: str, limit: Limit) -> None:
    assert Limit.parse(text) == limit
    assert Limit.parse(str(limit)) == limit


@each(
    "text",
    [
        "",
        "5",
        "usd",
        "5 euro",
        "-1usd",
        "0usd",
        "0.0ktok",
        "1e3tok",
        "nan usd",
        "1usd,2usd",
        "1tok,2ktok",
        "1usd,",
        "\u0661usd",
    ],
)
def test_a_limit_that_cannot_be_read_says_what_is_wanted(text: str) -> None:
    with pytest.raises(UsageError, match=r"0\.50usd, 200ktok") as error:
        Limit.parse(text)
    assert "\n" not in str(error.value)


def test_cost_by_hand() -> None:
    assert PRICE.cost(1_000_000, 500_000) == pytest.approx(6.0)
    assert PRICE.cost(1_000_000, 0, tokens_cached=400_000) == pytest.approx(0.6 * 2 + 0.4 * 0.5)
    assert PRICE.cost(10, 0, tokens_cached=10**9) == pytest.approx(10 * 0.5e-6)


@each(
    ("model", "like"),
    [
        ("gpt-4o", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("anthropic/claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("gpt-4o-mini", "gpt-4o-mini"),
    ],
)
def test_a_price_is_found_under_the_names_providers_use(model: str, like: str) -> None:
    assert price_of(model) == price_of(like) is not None


@each("model", ["gpt-4o-audio-preview", "my-local-model", "", "gpt-4o:free"])
def test_no_price_is_guessed(model: str) -> None:
    assert price_of(model) is None


def test_the_users_prices_come_first(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('[model]\n"gpt-4o" = {input = 1, output = 2}\n"mine" = {input = 0, cached = 0, output = 0}\n')
    assert price_of("gpt-4o", file) == Price(input=1.0, output=2.0, cached=1.0)
    assert price_of("mine", file) == Price(0.0, 0.0, 0.0)
    assert price_of("gpt-5", file) == price_of("gpt-5")


@each(
    ("text", "words"),
    [
        ("[model", "is not TOML"),
        ("model = 5", "must be a table"),
        ("[modle]", "did you mean 'model'"),
        ('[model]\n"m" = 5', "model 'm': wanted a table of keys"),
        ('[model]\n"m" = {input = -1, output = 2}', "USD per million tokens, zero or more"),
        ('[model]\n"m" = {input = 1}', "'output' must be USD per million tokens"),
        ('[model]\n"m" = {input = "1", output = 2}', "must be a finite number"),
        ('[model]\n"m" = {input = 1, output = 2, price = 3}', "no key 'price'"),
    ],
)
def test_a_price_table_that_is_none_says_where(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as error:
        price_of("m", file)
    assert words in str(error.value) and "prices.toml" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["absent", "folder", "binary"])
def test_a_price_table_that_cannot_be_read_is_one_line(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    if kind == "folder":
        file.mkdir()
    elif kind == "binary":
        file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="cannot read the price table"):
        price_of("m", file)


def test_a_limit_in_dollars_needs_a_price() -> None:
    with pytest.raises(UsageError, match="--llm-prices FILE"):
        Ledger(Limit(usd=1.0), None)


def test_room_ends_where_the_limit_would_be_passed() -> None:
    ledger = Ledger(Limit(usd=0.01), PRICE)
    assert ledger.room(1000, 1000) == ""  # exactly 0.01
    assert ledger.room(1000, 1001) == "0.0000 of 0.01 USD are spent, and the next call may cost 0.0100"
    ledger.settle(None, Booking(1000, 0, PRICE.cost(1000, 0)))
    assert ledger.room(1000, 750) == "" and ledger.room(1000, 751) != ""
    tokens = Ledger(Limit(tokens=100))
    assert tokens.room(90, 10) == "" and tokens.room(90, 11) != ""


def test_what_is_reserved_is_not_given_twice() -> None:
    ledger = Ledger(Limit(tokens=100))
    first = ledger.reserve(50, 10)
    assert isinstance(first, Reservation)
    assert isinstance(ledger.reserve(50, 0), str)
    ledger.settle(first, Booking(20, 0, None))
    assert isinstance(ledger.reserve(80, 0), Reservation)


def test_many_threads_lose_nothing_and_pass_no_limit() -> None:
    ledger = Ledger(Limit(tokens=5_000))

    def work() -> None:
        for _ in range(200):
            reservation = ledger.reserve(10, 5)
            if isinstance(reservation, Reservation):
                ledger.settle(reservation, Booking(8, 5, None))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    totals = ledger.to_json()
    assert ledger.tokens == totals["calls"] * 13
    assert 5_000 - 15 < ledger.tokens <= 5_000


def test_totals_tell_calls_apart() -> None:
    earlier = [Booking(100, 10, 0.001), Booking(0, 0, 0.0, cached=True)]
    ledger = Ledger(Limit(tokens=1000), PRICE, earlier)
    ledger.settle(None, Booking(50, 5, 0.0005, estimated=True, failed=True))
    assert ledger.to_json() == {
        "calls": 3,
        "cached": 1,
        "failed": 1,
        "estimated": 1,
        "tokens_in": 150,
        "tokens_out": 15,
        "cost_usd": pytest.approx(0.0015),
        "limit": "1000tok",
    }


def test_a_cost_that_is_not_known_is_not_zero() -> None:
    ledger = Ledger()
    assert ledger.cost_usd == 0.0
    ledger.settle(None, Booking(10, 10, None))
    assert ledger.cost_usd is None
