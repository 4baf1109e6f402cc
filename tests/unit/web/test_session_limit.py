from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from opsdash.web.session_limit import limit_sessions


def sessions(*waited_ms: int, connections: int = 0) -> list[Any]:
    made = []
    for waited in waited_ms:
        session = SimpleNamespace(connection_count=connections, milliseconds_since_last_unsubscribe=waited, ended=False)
        session.request_expiration = lambda session=session: setattr(session, "ended", True)
        made.append(session)
    return made


def test_those_that_wait_longest_for_a_browser_are_given_up_first() -> None:
    waiting = sessions(30, 4_000, 10, 900)
    limit_sessions([SimpleNamespace(sessions=waiting)], most=2)
    assert [session.ended for session in waiting] == [False, True, False, True]


def test_a_page_that_somebody_looks_at_is_never_given_up() -> None:
    shown, waiting = sessions(90_000, 80_000, connections=1), sessions(1, 2)
    limit_sessions([SimpleNamespace(sessions=[*shown, *waiting])], most=1)
    assert [session.ended for session in [*shown, *waiting]] == [False, False, False, True]


def test_up_to_that_many_all_wait() -> None:
    waiting = sessions(5, 6)
    limit_sessions([SimpleNamespace(sessions=waiting), SimpleNamespace(sessions=[])], most=2)
    assert not any(session.ended for session in waiting)
