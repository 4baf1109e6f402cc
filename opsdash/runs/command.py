"""A run's command: words without a shell, in our place on the terminal; signals that we get are passed on to it."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.redaction import HIDDEN, hidden_items, is_secret_text, masked
from opsdash.redaction.arguments import shortened
from opsdash.text import safe, shell_word

NOT_FOUND, NOT_RUNNABLE, SIGNALLED = 127, 126, 128
"""A shell's own exit codes; the number of a signal is added to the last."""
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MOST_WORDS, MOST_SHOWN = 10_000, 1_000


class Signals:
    """While this lasts, a signal to end is a wish: it is passed on to the command, or ends the run at its next step.

    What a shell has us ignore (``nohup``, a background job) stays ignored.

    Attributes:
        received: The first one; 0: none yet.
    """

    def __init__(self) -> None:
        self.received = 0
        self._child: subprocess.Popen[bytes] | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for number in HANDLED:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_on_to(self, child: subprocess.Popen[bytes] | None) -> None:
        """From now on they are passed on to this process; what came while it was started is, too."""
        self._child = child
        if child is not None and self.received:
            self._send(self.received)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.received = self.received or number
        if self._child is not None:
            self._send(number)

    def _send(self, number: int) -> None:
        if number == signal.SIGINT and _in_foreground():
            return  # the terminal has sent it to the command as well
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child.pid, number)


def _in_foreground() -> bool:
    """A terminal sends Ctrl-C to our process and to the command."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def checked(words: Sequence[str]) -> tuple[str, ...]:
    """The words of a command that can be started.

    Raises:
        Invalid: There are none, or the first names no program.
    """
    if not words or len(words) > MOST_WORDS:
        raise Invalid("expected a command behind --, such as: -- make deploy")
    if shutil.which(words[0]) is None:
        raise Invalid(f"there is no program {words[0][:80]!r} that can be run")
    return tuple(words)


def shown(words: Sequence[str], redact: str) -> str:
    """A command as the log may show it: without what looks secret, and in bounds."""
    hide = re.compile(redact) if redact else None
    hidden = hidden_items(list(words))
    texts = [
        HIDDEN
        if at in hidden or is_secret_text(word) or (hide is not None and hide.search(word))
        else shell_word(shortened(word, 200))
        for at, word in enumerate(words[:200])
    ]
    text = str(safe(masked(" ".join(texts))))
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def digest(words: Sequence[str], settings: Settings) -> str:
    """Tells one command from another and gives nothing of it away; empty where there is no secret to do it with."""
    try:
        key = settings.secret()
    except Invalid:
        return ""
    return hmac.new(
        key, b"opsdash run command\0" + "\0".join(words).encode("utf-8", "surrogateescape"), hashlib.sha256
    ).hexdigest()


def run(
    words: Sequence[str],
    signals: Signals,
    on_start: Callable[[int, str], None],
    out: IO[Any] | None = None,
) -> int:
    """Runs it to its end; its exit code as a shell gives it.

    Args:
        on_start: Called with its process id, and what tells it from a later one of that number.
        out: Where its output goes; None: where ours goes.
    """
    try:
        child = subprocess.Popen(list(words), stdout=out)  # noqa: S603 - what the operator asks for, as words, without a shell
    except FileNotFoundError:
        return NOT_FOUND
    except OSError:
        return NOT_RUNNABLE
    signals.pass_on_to(child)
    try:
        on_start(child.pid, started_at(child.pid))
    finally:
        code = child.wait()
        signals.pass_on_to(None)
    return SIGNALLED - code if code < 0 else code


def started_at(pid: int) -> str:
    """When a process was started, as Linux counts it; empty where that can't be read."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_alive(pid: int | None, started: str) -> bool:
    """Whether that very process still runs on this machine; False where nobody can say."""
    return pid is not None and started != "" and started_at(pid) == started
