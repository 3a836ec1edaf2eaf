"""The hub as a source: tokens, revisions, and faults of the network and the server."""

import socket
from pathlib import Path
from typing import Any

import pytest
from fetching import Get, dataset, file_of, folders, html, refused
from hub_server import DATASET, Handler, Hub

from sld.board.suites.hub import checked_endpoint


@pytest.mark.slow
def test_a_token_goes_to_the_hub_and_nowhere_else(get: Get, hub: Hub, tmp_path: Path) -> None:
    token = "hf_a_secret_that_nobody_should_see"
    get(token=token)
    sent = {(path.split("/")[1], headers.get("authorization")) for _, path, headers in hub.requests}
    assert sent == {("api", f"Bearer {token}"), ("datasets", f"Bearer {token}"), ("storage", None)}
    hub.answers["/api/"] = (500, {}, token.encode())
    assert token not in str(refused(get, token=token, force=True))
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()


@pytest.mark.slow
def test_nobody_but_the_endpoint_and_its_storage_is_asked(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    look_up, asked = socket.getaddrinfo, set()

    def recorded(host: Any, *rest: Any, **options: Any) -> Any:
        asked.add(host)
        return look_up(host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", recorded)
    get()
    assert asked == {"127.0.0.1", "localhost"}


@pytest.mark.slow
@pytest.mark.parametrize("token", ["two words", "line\nbreak", "schlüssel"])
def test_a_token_that_cannot_be_sent_is_not_shown(get: Get, hub: Hub, token: str) -> None:
    error = refused(get, token=token)
    assert error.exit_code == 2 and "HF_TOKEN" in str(error) and token.split()[0] not in str(error)
    assert hub.requests == []
    get(token=" hf_good\n")
    assert {h.get("authorization") for _, path, h in hub.requests if "/api/" in path} == {"Bearer hf_good"}


@pytest.mark.slow
def test_no_token_is_sent_without_one(get: Get, hub: Hub) -> None:
    get()
    assert not [headers for _, _, headers in hub.requests if "authorization" in headers]


@pytest.mark.slow
def test_what_the_hub_converted_is_the_second_choice(get: Get, hub: Hub) -> None:
    hub.branches = {"main": {"data.jsonl": b"{}\n"}, "refs/convert/parquet": dataset("{config}/{split}/0000.parquet")}
    done = get()
    assert {t.revision for t in done} == {hub.commit("refs/convert/parquet")}


@pytest.mark.slow
def test_a_pinned_revision_is_the_only_choice(get: Get, hub: Hub) -> None:
    hub.branches = {"main": {"data.jsonl": b"{}\n"}, "refs/convert/parquet": dataset("{config}/{split}/0000.parquet")}
    assert "has no train split of parallel_scaling_law" in str(refused(get, revision="main"))
    assert len(get(revision="refs/convert/parquet")) == 8


@pytest.mark.slow
def test_files_outside_git_lfs_are_checked_too(get: Get, hub: Hub, tmp_path: Path) -> None:
    hub.lfs = False
    assert len(get()) == 8
    hub.tampered["sft_scaling_law/test-00000-of-00001.parquet"] = file_of("sft_scaling_law", "test")[:-1] + b"x"
    assert "its size or checksum differs" in str(refused(get, force=True, cache=tmp_path / "empty"))


# faults of the network and the server


@pytest.mark.parametrize(
    ("answer", "parts"),
    [
        ((401, {}, b"{}"), ["wants a login", "401", "HF_TOKEN"]),
        ((403, {}, b"{}"), ["refuses", "403", "HF_TOKEN"]),
        ((403, {"X-Error-Code": "GatedRepo"}, b"{}"), ["behind a gate", "HF_TOKEN"]),
        ((404, {"X-Error-Code": "RepoNotFound"}, b"{}"), ["404", "HF_ENDPOINT"]),
        (html(404), ["404", "HF_ENDPOINT"]),
        ((429, {}, b"{}"), ["429", "slow down"]),
        ((500, {}, b"oh"), ["500", "later"]),
        (html(), ["does not answer as the Hugging Face hub does", "HF_ENDPOINT"]),
        ((200, {}, b"[]"), ["does not answer as the Hugging Face hub does"]),
        ((200, {}, b'{"id": 3}'), ["does not answer as the Hugging Face hub does"]),
        ((200, {}, b"3"), ["does not answer as the Hugging Face hub does"]),
    ],
)
def test_a_refusal_is_one_line_with_a_way_out(
    get: Get, hub: Hub, tmp_path: Path, answer: tuple[int, dict[str, str], bytes], parts: list[str]
) -> None:
    hub.answers["/"] = answer
    error = refused(get)
    assert error.exit_code == 1 and all(part in str(error) for part in parts), str(error)
    assert not (tmp_path / "tasks").exists()


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ((401, {}, b"{}"), "401"),
        ((403, {"X-Error-Code": "GatedRepo"}, b"{}"), "behind a gate"),
        ((404, {"X-Error-Code": "EntryNotFound"}, b"{}"), "404"),
        ((503, {}, b"{}"), "503"),
        (html(), "does not answer as the Hugging Face hub does"),
    ],
)
def test_a_refusal_halfway_keeps_what_is_done(
    get: Get, hub: Hub, tmp_path: Path, answer: tuple[int, dict[str, str], bytes], part: str
) -> None:
    hub.answers[f"/datasets/{DATASET}/resolve/{hub.commit('main')}/vocab_scaling_law/"] = answer
    error = refused(get)
    assert part in str(error) and "1 of 8 tasks are in" in str(error) and error.exit_code == 1
    assert folders(tmp_path / "tasks") == ["sldbench_parallel"]


def test_no_network(get: Get) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error = refused(get, endpoint=f"http://127.0.0.1:{port}")
    assert error.exit_code == 1 and f"could not reach 127.0.0.1:{port}" in str(error) and "--from DIR" in str(error)


def test_a_server_that_goes_away(get: Get, hub: Hub) -> None:
    def close(self: Any) -> None:
        self.close_connection = True
        self.connection.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Handler, "resolve", lambda self, revision, path: close(self))
        error = refused(get)
    assert "could not reach" in str(error) or "lost" in str(error)


@pytest.mark.parametrize("endpoint", ["huggingface.co", "ftp://x", "http://", "http://a:b", "http://[x", "http://a b/"])
def test_an_endpoint_that_is_no_url(get: Get, endpoint: str) -> None:
    error = refused(get, endpoint=endpoint)
    assert error.exit_code == 2 and "HF_ENDPOINT must be a URL" in str(error)


def test_the_password_of_an_endpoint_is_not_shown(get: Get, hub: Hub) -> None:
    hub.answers["/"] = (500, {}, b"")
    error = refused(get, endpoint=hub.url.replace("http://", "http://user:secret@"))
    assert "secret" not in str(error) and "127.0.0.1" in str(error)
    assert "secret" not in str(refused(get, endpoint="user:secret@host"))
    assert checked_endpoint("https://mirror.example/hf/") == "https://mirror.example/hf"


def test_an_unknown_revision_is_misuse(get: Get) -> None:
    error = refused(get, revision="v9")
    assert error.exit_code == 2 and "no revision 'v9'" in str(error)
    assert refused(get, revision=" ").exit_code == 2


def test_offline_mode_is_said(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import close_session

    close_session()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in str(refused(get))
    close_session()
