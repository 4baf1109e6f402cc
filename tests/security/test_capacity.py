"""Somebody who opens all they can: the others, and above all whoever may act, still get in."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

import pytest
from support.pages import PageServer
from support.services import until

from opsdash.views.open_pages import open_pages


def as_user(name: str, client: str = "203.0.113.7") -> dict[str, str]:
    return {"X_Auth_Request_User": name, "X_Forwarded_For": client}


@pytest.fixture
def small(serve: Callable[..., PageServer]) -> PageServer:
    """Ten pages, three for each user: eve and the other viewers look on, oscar operates, anna is admin."""
    return serve(admins=("anna",), operators=("oscar",), viewers=("*",), max_pages=10, max_pages_each=3)


@contextlib.contextmanager
def looking(server: PageServer, name: str, client: str = "203.0.113.7") -> Iterator[None]:
    """A page of this user with its browser."""
    sent = as_user(name, client)
    with server.socket(server.ask(**sent).token, **sent) as let_in:
        assert let_in
        yield


def taken(server: PageServer) -> int:
    return open_pages(server.console).capacity.taken


@pytest.mark.long
def test_viewers_who_open_all_they_can_leave_room_for_operators_and_admins(small: PageServer) -> None:
    with contextlib.ExitStack() as pages:
        for number in range(9):
            pages.enter_context(looking(small, f"viewer{number % 3}"))
        assert taken(small) == 6
        pages.enter_context(looking(small, "oscar"))
        assert taken(small) == 7
        pages.enter_context(looking(small, "anna"))
        assert taken(small) == 8
        pages.enter_context(looking(small, "oscar"))  # is told that there is no room
        assert taken(small) == 8
        for count in (9, 10):
            pages.enter_context(looking(small, "anna"))
            assert taken(small) == count


def test_one_user_has_only_so_many_pages_open_and_the_others_theirs(small: PageServer) -> None:
    with contextlib.ExitStack() as pages:
        for _ in range(5):
            pages.enter_context(looking(small, "eve"))
        assert taken(small) == 3
        pages.enter_context(looking(small, "joe"))
        assert taken(small) == 4


@pytest.mark.long
def test_loading_the_page_again_and_again_shuts_nobody_out(small: PageServer) -> None:
    for _ in range(12):
        assert small.ask(**as_user("eve")).status == 200
        assert taken(small) <= 3
    with looking(small, "eve"):
        assert taken(small) <= 3


@pytest.mark.long
def test_a_closed_page_gives_its_place_back(serve: Callable[..., PageServer]) -> None:
    server = serve({"unused_session_ms": 200}, viewers=("*",), max_pages=10, max_pages_each=3)
    for _ in range(3):
        with looking(server, "eve"), looking(server, "eve"):
            assert taken(server) >= 2
    assert until(lambda: taken(server) == 0)


def test_nobody_in_particular_opens_only_so_many_websockets(small: PageServer) -> None:
    tokens = [small.ask(X_Forwarded_For="203.0.113.8").token for _ in range(3)]
    sent = {"X_Forwarded_For": "203.0.113.8"}
    with small.socket(tokens[0], **sent) as first, small.socket(tokens[1], **sent) as second:
        assert (first, second) == (True, False)
        with looking(small, "eve"):
            pass
    assert until(lambda: small.opens(small.ask(**sent).token, **sent))


def test_an_address_that_opens_hundreds_of_connections_leaves_room_for_others(serve: Callable[..., PageServer]) -> None:
    server = serve(viewers=("*",), trusted_proxies=("10.0.0.0/24",), max_connections=50, max_connections_each=20)
    with contextlib.ExitStack() as held:
        opened = [held.enter_context(socket.create_connection(("127.0.0.1", server.port))) for _ in range(60)]
        for one in opened:
            one.settimeout(10)
        refused = [one for one in opened[20:] if hung_up(one)]
        assert len(refused) == 40
        for one in opened[:20]:
            one.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert one.recv(100).startswith(b"HTTP/1.1 200")
    assert until(lambda: answers(server))


def test_a_proxy_has_connections_left_when_others_have_taken_theirs(serve: Callable[..., PageServer]) -> None:
    server = serve(viewers=("*",), max_connections=50, max_connections_each=20)  # loopback is the proxy's
    with contextlib.ExitStack() as held:
        for _ in range(45):
            held.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        assert server.ask("/healthz").status == 200


def hung_up(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def answers(server: PageServer) -> bool:
    try:
        return server.ask("/healthz").status == 200
    except OSError:
        return False
