"""`sld` and `python -m sld`: runs a command and turns every failure into one line and an exit code."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence

INTERRUPTED = 130  # the shell's number for a program ended by Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0 done, 1 the work failed, 2 misuse, 130 interrupted."""
    from sld.cli.output import use_utf8

    _open_closed_streams()
    try:
        use_utf8()
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:
        return _reader_left()
    except MemoryError:
        return _fail("not enough memory for this; use fewer rows or workers", 1)
    except OSError as error:
        _drop_output()
        place = f" {error.filename}" if error.filename else ""
        return _fail(f"could not read or write{place}: {error.strerror or error}", 2)


def _open_closed_streams() -> None:
    """Give a program that was started without stdout or stderr (`>&-`) something to write to."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8"))  # to the end


def _run(arguments: Sequence[str]) -> int:
    import typer.main

    from sld.cli.app import app
    from sld.cli.base import RENAMED
    from sld.core.errors import SldError

    # typer's usage errors share a base that, by version, lives in typer or in click
    misuse: tuple[type[Exception], ...] = typer.BadParameter.__bases__
    command = typer.main.get_command(app)
    streams = sys.stdout, sys.stderr
    try:
        code = command.main(args=list(arguments), prog_name="sld", standalone_mode=False)
    except SystemExit as error:
        if (sys.stdout, sys.stderr) == streams:
            raise
        # where the reader of our output has left, typer puts wrappers around the streams and exits
        sys.stdout, sys.stderr = streams
        raise BrokenPipeError from error
    except SldError as error:
        return _fail(str(error), error.exit_code)
    except misuse as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "sld")
        message = getattr(error, "format_message", error.__str__)()
        option = str(getattr(error, "option_name", ""))
        if (now := RENAMED.get((where, option))) is not None:
            message = f"{option} is now {now.split()[0]}, e.g. {now}"
        if "extra argument" in message and where in ("sld discover", "sld fit"):  # the shell has expanded runs/*.csv
            message = f"{message.rstrip('.')}; name a folder, or quote a pattern: 'runs/*.csv'"
        return _fail(f"{message.rstrip('.')} (see {where} --help)", 2)
    if code == INTERRUPTED:  # typer swallows Ctrl-C and returns this
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _fail(message: str, code: int) -> int:
    line = " ".join(message.split())
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    with contextlib.suppress(OSError):  # where stderr is gone too, the exit code has to say it
        print(f"sld: {shown}", file=sys.stderr)
    return code


def _reader_left() -> int:
    """Return 0: whoever read our output (`| head`) had enough of it, and nothing went wrong."""
    _drop_output()  # else Python complains once more when it flushes at exit
    return 0


def _drop_output() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    except (OSError, ValueError):  # stdout is not a file, as in tests
        pass
    finally:
        os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
