"""A thread with an event loop, where calls to a model run while the search goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_LAST_WORDS_S = 0.5  # for connections to be closed; whoever presses Ctrl-C does not wait longer


class Background:
    """Runs coroutines beside the main thread; `close` ends them at once and never waits for a server.

    Examples:
        >>> background = Background()
        >>> background.submit(asyncio.sleep(0.0, "an answer")).result()
        'an answer'
        >>> background.close()
    """

    def __init__(self) -> None:
        """Start nothing yet: worker processes have to be forked before there is a thread."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, call: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine."""
        assert not self._closed
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._loop.set_default_executor(_DaemonThreads())
            self._thread = threading.Thread(target=self._loop.run_forever, name="sld-llm", daemon=True)
            self._thread.start()
        return asyncio.run_coroutine_threadsafe(call, self._loop)

    def close(self, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Cancel what runs and stop; `last` may close connections, if that is quick."""
        if self._closed:
            return
        self._closed = True
        if self._loop is None or self._thread is None:
            return
        asyncio.run_coroutine_threadsafe(self._end(last), self._loop)
        self._thread.join(2 * _LAST_WORDS_S)
        if not self._thread.is_alive():
            self._loop.close()

    async def _end(self, last: Callable[[], Coroutine[Any, Any, None]] | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            own = asyncio.current_task()
            others = [task for task in asyncio.all_tasks() if task is not own]
            for task in others:
                task.cancel()
            async with asyncio.timeout(_LAST_WORDS_S):
                await asyncio.gather(*others, return_exceptions=True)
                if last is not None:
                    await last()
        except TimeoutError:
            pass
        finally:
            loop.call_soon(loop.stop)


class _DaemonThreads(ThreadPoolExecutor):
    """A thread per job that dies with the program: a name server that does not answer must not hold up its end."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(fn(*args, **kwargs))
            except (OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
                future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future
