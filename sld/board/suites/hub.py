"""Data sets on the Hugging Face hub or in a folder: what files there are, and each of them, whole.

Everything goes through the hub's own client, `huggingface_hub`, which caches what it downloads. Whatever the client,
the network or the server does wrong comes out as one line. No line holds a token or the user part of an endpoint's URL.
"""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from sld.board.suites.shards import MISSING_PYARROW, SourceError
from sld.core.errors import SldError, UsageError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

DEFAULT_ENDPOINT = "https://huggingface.co"
CONVERTED = "refs/convert/parquet"  # where the hub keeps what it converts itself
MISSING_CLIENT = "fetching from the hub needs huggingface_hub and pyarrow: pip install 'sld[sldbench]'"

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DEPTH = 4  # of folders that are listed: data/CONFIG/SPLIT/FILE
_PATIENCE_S = 20.0  # for the one request that tells whether the data set is there


@dataclass(frozen=True)
class SourceFile:
    """A file of a data set; the digest is that of Git LFS (sha256) or of Git (sha1 with a header), "" when unknown."""

    path: str
    size: int
    sha256: str = ""
    git_sha1: str = ""


class Source(Protocol):
    """Where a data set is."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def revision(self) -> str:
        """The commit of the files, "" for a folder."""

    @property
    def files(self) -> Mapping[str, SourceFile]:
        """The files by path, relative to the top, with forward slashes."""

    def get(self, path: str) -> Path:
        """Return where the file is on this machine, after downloading it if need be, with the listed content."""


@dataclass(frozen=True)
class FolderSource:
    """A data set in a folder."""

    folder: Path
    files: Mapping[str, SourceFile]
    revision: str = ""

    @staticmethod
    def open(folder: Path) -> FolderSource:
        """List a folder; raises UsageError."""
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "is not there"
            raise UsageError(f"{folder} {what}; --from wants a folder with a copy of the data set")
        try:
            found = [path for depth in range(_DEPTH) for path in folder.glob("*/" * depth + "*") if path.is_file()]
            listed = [SourceFile(path.relative_to(folder).as_posix(), path.stat().st_size) for path in sorted(found)]
        except OSError as error:
            raise UsageError(f"could not read {folder}: {error.strerror or error}") from error
        return FolderSource(folder, {file.path: file for file in listed})

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.folder)

    def get(self, path: str) -> Path:
        """Return the file itself."""
        return self.folder / path


@dataclass(frozen=True)
class HubSource:
    """A data set on the hub, at one commit."""

    dataset: str
    revision: str
    files: Mapping[str, SourceFile]
    endpoint: str
    token: str | bool | None = None
    cache: Path | None = None

    @staticmethod
    def open(
        dataset: str,
        *,
        revision: str | None = None,
        endpoint: str | None = None,
        token: str | bool | None = None,
        cache: Path | None = None,
    ) -> HubSource:
        """List the files of a data set.

        Args:
            dataset: `owner/name`.
            revision: Branch, tag or commit; the main branch if not given.
            endpoint: URL of the hub or of a mirror.
            token: The user's; None for the one the client has from an earlier login, False for none.
            cache: Where the client keeps downloads; None for its own place.

        Raises:
            SldError: The hub cannot be reached or refuses.
            UsageError: The client is not installed, or there is no such revision or endpoint.
        """
        url = checked_endpoint(endpoint)
        try:
            from huggingface_hub import HfApi
        except ImportError:
            raise UsageError(MISSING_CLIENT) from None
        api = HfApi(endpoint=url, token=token)
        with _in_words(dataset, url, revision, token):
            commit, files = _listing(api, dataset, revision, url)
        return HubSource(dataset, commit, files, url, token, cache)

    @property
    def name(self) -> str:
        """The data set, and the commit where it is known."""
        return f"{self.dataset}@{self.revision[:10]}" if self.revision else self.dataset

    def get(self, path: str) -> Path:
        """Download a file, or find it in the client's cache; its digest is compared with the listed one.

        Raises:
            SldError: The download failed; the message says how.
        """
        from huggingface_hub import hf_hub_download

        file = self.files[path]
        for _ in range(2):  # what the cache has may be damaged: then it is dropped and downloaded anew
            with _in_words(self.dataset, self.endpoint, self.revision, self.token):
                local = Path(
                    hf_hub_download(
                        self.dataset,
                        path,
                        repo_type="dataset",
                        revision=self.revision or None,
                        cache_dir=self.cache,
                        token=self.token,
                        endpoint=self.endpoint,
                    )
                )
                if _as_listed(local, file):
                    return local
                real = local.resolve()
                local.unlink(missing_ok=True)
                real.unlink(missing_ok=True)
        raise SourceError(
            f"{path} from {_host(self.endpoint)} is not the file that is listed there (its size or checksum differs); "
            "try again, or ask whoever runs the mirror or proxy"
        )


def _listing(api: HfApi, dataset: str, revision: str | None, endpoint: str) -> tuple[str, dict[str, SourceFile]]:
    from huggingface_hub.hf_api import RepoFile

    try:
        commit = api.dataset_info(dataset, revision=revision, timeout=_PATIENCE_S).sha or revision or ""
        tree = api.list_repo_tree(dataset, repo_type="dataset", revision=commit or None, recursive=True)
        entries = [entry for entry in tree if isinstance(entry, RepoFile)]
        files = [
            SourceFile(e.path, e.size, e.lfs.sha256, "") if e.lfs else SourceFile(e.path, e.size, "", e.blob_id)
            for e in entries
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        # what the client does with an answer that is no JSON, or JSON of another shape
        if isinstance(error, OSError):  # the client's errors for refusals are both
            raise
        raise SldError(_not_a_hub(_host(endpoint))) from error
    return commit, {file.path: file for file in files}


def checked_endpoint(endpoint: str | None) -> str:
    """Return the URL without its last slash; raises UsageError when it is none."""
    url = (endpoint or DEFAULT_ENDPOINT).strip().rstrip("/")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        good = good and re.fullmatch(r"[!-~]+", url) is not None
    except ValueError:  # a port that is no number, brackets that do not close
        good = False
    if not good:
        shown = url if "@" not in url else "one that cannot be read"
        raise UsageError(f"HF_ENDPOINT must be a URL like {DEFAULT_ENDPOINT}, got {shown[:80]!r}")
    return url


def checked_token(token: str | bool | None) -> str | bool | None:
    """Return the token without spaces around it; raises UsageError, which does not show it, when it cannot be sent."""
    if not isinstance(token, str):
        return token
    token = token.strip()
    if token and not re.fullmatch(r"[!-~]+", token):
        raise UsageError("HF_TOKEN holds spaces or signs that no token has; copy it again from the page of your tokens")
    return token or None


def _host(endpoint: str) -> str:
    return urlsplit(endpoint).netloc.rpartition("@")[2]


def sha256_of(path: Path) -> str:
    """Return the digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _as_listed(path: Path, file: SourceFile) -> bool:
    if path.stat().st_size != file.size:
        return False
    if file.sha256:
        return sha256_of(path) == file.sha256
    if re.fullmatch(r"[0-9a-f]{40}", file.git_sha1):
        content = path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == file.git_sha1
    return True  # some mirrors list no digests


@contextmanager
def _in_words(dataset: str, endpoint: str, revision: str | None, token: str | bool | None) -> Iterator[None]:
    """Run the client quietly, and turn what it raises into one line."""
    from huggingface_hub import errors

    host = _host(endpoint)
    elsewhere = "or fetch from a copy on disk with --from DIR"
    try:
        with _quiet_client():
            yield
    except errors.GatedRepoError as error:
        way_out = f"accept its conditions on {host}/datasets/{dataset} and set HF_TOKEN to a token of that account"
        raise SldError(f"{dataset} at {host} is behind a gate: {way_out}") from error
    except errors.RevisionNotFoundError as error:
        raise UsageError(f"{dataset} at {host} has no revision {revision!r}; leave --revision out for main") from error
    except errors.LocalEntryNotFoundError as error:
        # the client's last word when it got no answer about a file; the reason stands behind it
        cause = error.__cause__
        if isinstance(cause, errors.HfHubHTTPError):
            raise SldError(_refusal(cause, dataset, host)) from error
        if isinstance(cause, errors.FileMetadataError):
            raise SldError(_not_a_hub(host)) from error
        raise SldError(f"lost {host} ({_reason(cause, token)}); try again later, {elsewhere}") from error
    except errors.OfflineModeIsEnabled as error:
        raise SldError(f"HF_HUB_OFFLINE is set, so nothing is downloaded; unset it, {elsewhere}") from error
    except errors.HfHubHTTPError as error:
        raise SldError(_refusal(error, dataset, host)) from error
    except errors.HfHubHTTPError.__bases__ as error:
        # the first base is that of all errors of the network; the second, OSError, brings those of the disk as well
        if not isinstance(error, errors.HfHubHTTPError.__bases__[0]) and isinstance(error, OSError):
            raise _disk_or_download(error, host) from error
        ways_out = f"check the network, set HF_ENDPOINT to a mirror, {elsewhere}"
        raise SldError(f"could not reach {host} ({_reason(error, token)}); {ways_out}") from error


def _not_a_hub(host: str) -> str:
    return (
        f"{host} does not answer as the Hugging Face hub does; check HF_ENDPOINT, a proxy, or the network's login page"
    )


def _refusal(error: Exception, dataset: str, host: str) -> str:
    status = int(getattr(getattr(error, "response", None), "status_code", 0))
    if status == 401:
        return f"{host} wants a login for {dataset}, or does not have it (401); set HF_TOKEN, or check HF_ENDPOINT"
    if status == 403:
        return f"{host} refuses {dataset} (403): the token may not read it, or the data set is closed; check HF_TOKEN"
    if status == 404:
        return f"{host} has no data set {dataset} or not all of it (404); check HF_ENDPOINT"
    if status == 429:
        return f"{host} asks to slow down (429); try again in some minutes, or set HF_TOKEN for more requests"
    return f"{host} could not answer ({status}); try again later, or set HF_ENDPOINT to a mirror"


def _disk_or_download(error: OSError, host: str) -> SldError:
    if error.errno in _FULL:
        return SldError("the disk is full, so the client's cache cannot be written; free some space or set HF_HOME")
    if error.errno is None:  # the client's own: the body is shorter or longer than announced
        return SldError(f"a file from {host} came incomplete; try again")
    place = f" ({error.filename})" if error.filename else ""
    return UsageError(
        f"could not use the client's cache{place}: {error.strerror or error}; set HF_HOME to another folder"
    )


def _reason(error: BaseException | None, token: str | bool | None) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(token, str) and token:
        text = text.replace(token, "***")
    return text[:160]


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Without the client's bars and warnings, over plain HTTP, and asking nobody but the endpoint.

    The files are small, and the client's faster protocol (Xet) talks to one more host, which mirrors do not have. Its
    telemetry would ask the main hub for a list first, mirror or not.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from huggingface_hub.utils import logging as client_logging

    bars = constants.HF_HUB_DISABLE_PROGRESS_BARS is None and not are_progress_bars_disabled()
    verbosity = client_logging.get_verbosity()
    before = constants.HF_HUB_DISABLE_XET, constants.HF_HUB_DISABLE_TELEMETRY
    if bars:
        disable_progress_bars()
    client_logging.set_verbosity_error()
    constants.HF_HUB_DISABLE_XET = constants.HF_HUB_DISABLE_TELEMETRY = True
    try:
        yield
    finally:
        constants.HF_HUB_DISABLE_XET, constants.HF_HUB_DISABLE_TELEMETRY = before
        client_logging.set_verbosity(verbosity)
        if bars:
            enable_progress_bars()


def need_pyarrow() -> None:
    """Raise UsageError where Parquet files could not be read, before anything is downloaded."""
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise UsageError(MISSING_PYARROW)
