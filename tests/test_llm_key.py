"""Where the key must not go, and what is asked of the user."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from llm_asking import KEY, QUICK, TOOL, ask, chat_at
from llm_server import Answer, Request, Server, body, reply, reset, status
from many_cases import each

from sld.chat.client import Chat
from sld.chat.ledger import Ledger
from sld.chat.record import Record
from sld.chat.settings import from_environment
from sld.core.errors import UsageError


def everything(folder: Path) -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in sorted(folder.rglob("*")) if p.is_file())


@pytest.mark.slow
def test_the_key_is_nowhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)

    def echo(request: Request) -> Answer:
        return reply(f"you sent {request.headers['authorization']}", tool_calls=[(KEY, json.dumps({"key": KEY}))])

    script: list[Answer | Callable[[Request], Answer]] = [
        status(401, f"Incorrect API key provided: {KEY}. See {KEY}"),
        status(400, f"cannot {KEY}"),
        body(f"<html>{KEY}", code=418),
        body(f"{KEY} is not JSON"),
        body(f"{KEY} is not JSON"),
        body(f"{KEY} is not JSON"),
        body(json.dumps({"error": {"message": KEY, "code": 1}})),
        status(307, headers={"Location": f"http://{KEY}@other.example/{KEY}"}),
        echo,
        reset(after=10),
        reset(after=10),
        reset(after=10),
    ]
    record = Record(tmp_path / "llm" / "exchange.jsonl")
    with Server(script, then=echo) as server:
        chat = chat_at(server, record=record)
        got = ask(chat, times=8, tools=[{**TOOL, "note": KEY}])
    assert len(record.lines) == 8 and [bool(g.status) for g in got].count(False) >= 1
    out = capfd.readouterr()
    shown = (repr(chat), repr(chat.settings), repr(vars(chat)), repr(got), caplog.text, out.out, out.err)
    for text in (*shown, everything(tmp_path)):
        assert KEY not in text and KEY[5:] not in text
    assert "[key]" in got[0].status


@pytest.mark.parametrize("key", ["none", "x", "EMPTY"])
def test_a_word_for_a_local_server_is_no_secret(key: str) -> None:
    with Server([reply("none of x is EMPTY")]) as server:
        settings = replace(QUICK, base_url=server.url)
        (got,) = ask(Chat(settings, api_key=key, ledger=Ledger(), record=Record(None)))
    assert got.text == "none of x is EMPTY"


def test_a_redirect_is_not_followed() -> None:
    with Server(then=reply("stolen")) as other, Server(then=status(307, headers={"Location": other.url})) as server:
        (got,) = ask(chat_at(server))
        assert other.requests == []
    assert got.final and "redirects to 127.0.0.1 (307), and the key is not sent there" in got.status


def test_what_is_not_encrypted_takes_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with Server(then=reply("through the proxy")) as proxy, Server(then=reply("direct")) as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        (got,) = ask(chat_at(server))
        assert proxy.requests == []
    assert got.text == "direct"


def test_a_proxy_that_makes_no_sense_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://user:secret@x")
    settings = replace(QUICK, base_url="https://127.0.0.1:1/v1", max_retries=0)
    (got,) = ask(Chat(settings, api_key=KEY, ledger=Ledger(), record=Record(None)))
    assert got.final and "proxy" in got.status and "secret" not in got.status


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8080/v1")
    settings, key = from_environment("some-model")
    assert (settings.model, settings.base_url, key) == ("some-model", "http://127.0.0.1:8080/v1", KEY)
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert from_environment("some-model")[0].base_url is None


@each(
    ("key", "url", "words"),
    [
        ("", "", "--llm needs a key: set OPENAI_API_KEY"),
        ("  ", "", "--llm needs a key"),
        ("sk-ключ", "", "has characters that no key has"),
        ("sk-a b", "", "has characters that no key has"),
        (KEY, "localhost:8080", "OPENAI_BASE_URL wants an address"),
        (KEY, "ftp://x/v1", "OPENAI_BASE_URL wants an address"),
        (KEY, "http://x:99999/v1", "OPENAI_BASE_URL wants an address"),
        (KEY, "http://user:word@x/v1", "without user, password"),
        (KEY, "http://x/v1?key=5", "without user, password"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(
    key: str, url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(UsageError) as error:
        from_environment("m")
    assert words in str(error.value) and "\n" not in str(error.value)
    assert not key.strip() or key not in str(error.value)


def test_without_the_package_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UsageError, match=r"pip install 'sld\[llm\]'"):
        Chat(QUICK, api_key=KEY, ledger=Ledger(), record=Record(None))


def test_the_package_is_imported_with_the_first_call_only() -> None:
    import subprocess

    code = (
        "import sys; from sld.chat.client import Chat; from sld.chat.settings import ChatSettings;"
        "from sld.chat.ledger import Ledger;"
        "from sld.chat.record import Record;"
        "Chat(ChatSettings(model='m'), api_key='k', ledger=Ledger(), record=Record(None));"
        "print([m for m in ('openai', 'httpx2', 'numpy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
