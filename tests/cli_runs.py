"""What the tests of the commands share: runs in a table, a law fitted to them, a command in a process or terminal."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from commands import Outcome

REPOSITORY = Path(__file__).resolve().parents[1]
COLUMNS = ("--target", "loss", "--scale", "N,D")
QUICK = ("--budget", "300fits", "--workers", "1")
SCORE_KEYS = {"r2", "r2_within", "nmse", "nmae", "are", "n_rows"}


def surroundings() -> dict[str, str]:
    """Return an environment in which a child process finds this package."""
    paths = [str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {k: v for k, v in os.environ.items() if k != "COLUMNS"} | {"PYTHONPATH": os.pathsep.join(paths)}


def child(*arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command in a process of its own."""
    env = {**surroundings(), **environment}
    command = [sys.executable, "-m", "sld", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=cwd, env=env, timeout=120)


def loss(n: float, d: float) -> float:
    return float(1.7 + 400 / n**0.34 + 900 / d**0.3)


def write_runs(path: Path, extra: str = "", *, group: bool = False) -> Path:
    """Write a table of runs on a grid of sizes and tokens, with two families when grouped."""
    lines = ["N,D,loss" + (",family" if group else "")]
    for k, family in enumerate(("small", "groß") if group else ("",)):
        for n in (1e6, 3e6, 1e7, 3e7, 1e8):
            for d in (1e8, 3e8, 1e9, 3e9, 1e10):
                lines.append(f"{n:.0f},{d:.0f},{loss(n, d) + k:.6f}" + (f",{family}" if group else ""))
    path.write_text("\n".join(lines) + "\n" + extra, encoding="utf-8")
    return path


def write_task(folder: Path, variable: str, *, name: str = "mine") -> Path:
    folder.mkdir()
    write_runs(folder / "train.csv")
    card = f'name = "{name}"\n[[variable]]\ncolumn = "N"\n{variable}\n[[target]]\ncolumn = "loss"\n'
    (folder / "task.toml").write_text(card, encoding="utf-8")
    return folder


def one_line(outcome: Outcome, *parts: str, code: int = 2) -> None:
    """Check that a command failed as promised: exit code, one line on stderr, nothing on stdout."""
    assert outcome.code == code, outcome.err
    assert outcome.out == ""
    assert outcome.err.startswith("sld: ")
    assert outcome.err.count("\n") == 1
    for part in parts:
        assert part in outcome.err


def in_terminal(*arguments: object, columns: int, cwd: Path) -> tuple[int, str]:
    """Runs a command in a terminal of that width; returns the exit code and what the terminal was sent."""
    import pty
    import struct
    import termios
    from fcntl import ioctl

    parent, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = surroundings() | {"TERM": "xterm"}
    command = [sys.executable, "-m", "sld", *map(str, arguments)]
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=cwd, env=env)
    os.close(terminal)

    def received() -> Iterator[bytes]:
        while True:
            try:
                data = os.read(parent, 65536)
            except OSError:  # the other end is closed
                return
            if not data:
                return
            yield data

    text = b"".join(received()).decode()
    os.close(parent)
    return process.wait(timeout=60), text.replace("\r\n", "\n")
