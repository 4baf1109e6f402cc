"""``OPSDASH_AUTH=basic``: names and passwords of our own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

import pytest
import redis
from support.pages import Answer, PageServer
from support.services import Valkey, until

from opsdash.config import passwords as module
from opsdash.config.passwords import Users
from opsdash.web import server as serving
from opsdash.web.auth import sign_out as signed_out
from opsdash.web.auth.cookies import COOKIE
from opsdash.web.auth.sign_out import LONGEST_S, SignedOut

PASSWORD = "correct horse battery"


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Users:
    monkeypatch.setattr(module, "N", 32)  # what a hash costs is tested elsewhere
    made = Users(tmp_path / "users")
    made.put("maria", PASSWORD)
    made.put("joe", PASSWORD)
    return made


@pytest.fixture
def desk(serve: Callable[..., PageServer], users: Users) -> PageServer:
    return serve(auth="basic", operators=("maria", "joe"), users_file=str(users.path))


def sign_in(server: PageServer, name: str = "maria", password: str = PASSWORD, **headers: str) -> Answer:
    body = urlencode({"username": name, "password": password})
    sent = {"Content_Type": "application/x-www-form-urlencoded", "Origin": server.origin, **headers}
    return server.ask("/login", "POST", body, **sent)


def cookie(answer: Answer) -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={answer.cookies[COOKIE]}"}


def test_whoever_is_not_signed_in_is_sent_to_the_login_page_and_sees_nothing_else(desk: PageServer) -> None:
    answer = desk.ask()
    assert (answer.status, answer.headers["location"].partition("?")[0]) == (302, "./login")
    form = desk.ask("/login")
    assert form.status == 200
    assert 'type="password"' in form.text
    assert "redis" not in form.text
    assert desk.living() == 0


def test_a_user_signs_in_and_the_page_is_theirs(desk: PageServer) -> None:
    answer = sign_in(desk)
    assert (answer.status, answer.headers["location"]) == (303, "/operations")
    page = desk.ask(**cookie(answer))
    assert page.payload["headers"] == {"X-Auth-Request-User": "maria", "X-Forwarded-For": "127.0.0.1"}
    assert answer.cookies[COOKIE] not in page.text
    assert page.payload["cookies"] == {}
    assert desk.opens(page.token, **cookie(answer))


def test_the_cookie_is_for_this_page_alone_and_no_script_reads_it(
    serve: Callable[..., PageServer], users: Users
) -> None:
    given = {"auth": "basic", "operators": ("maria",), "users_file": str(users.path)}
    (plain,) = sign_in(serve(**given)).set_cookies
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(plain.split("; "))
    assert "Secure" not in plain
    prefixed = serve({"prefix": "/ops"}, **given)
    answer = sign_in(prefixed, X_Forwarded_For="203.0.113.9", X_Forwarded_Proto="https")
    assert answer.headers["location"] == "/ops/operations"
    assert {"HttpOnly", "SameSite=Strict", "Secure", "Path=/ops/"} <= set(answer.set_cookies[0].split("; "))


def test_a_name_in_a_header_is_nobodys_where_users_sign_in_here(desk: PageServer) -> None:
    assert desk.ask(X_Auth_Request_User="maria").status == 302
    page = desk.ask(X_Auth_Request_User="joe", X_Auth_Request_Groups="sre", **cookie(sign_in(desk)))
    assert page.payload["headers"]["X-Auth-Request-User"] == "maria"
    assert "X-Auth-Request-Groups" not in page.payload["headers"]


def test_what_was_wrong_is_not_said_and_neither_name_nor_password_is_logged(
    desk: PageServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = [sign_in(desk, *pair) for pair in (("maria", "wrong password"), ("mallory", PASSWORD), ("", ""))]
    assert {(answer.status, answer.text) for answer in answers} == {(403, answers[0].text)}
    assert "Name or password is wrong" in answers[0].text
    assert not any(answer.set_cookies for answer in answers)
    sign_in(desk)
    assert "sign-in failed from 127.0.0.1" in caplog.text
    for text in ("wrong password", "mallory", PASSWORD):
        assert text not in caplog.text


def test_after_five_failures_an_address_waits_even_with_the_right_password_and_others_do_not(desk: PageServer) -> None:
    there = {"X_Forwarded_For": "203.0.113.9", "X_Forwarded_Proto": "https"}
    failed = [sign_in(desk, "maria", f"guess number {n}", **there).status for n in range(7)]
    assert failed == [403] * 5 + [429] * 2
    answer = sign_in(desk, **there)
    assert (answer.status, answer.set_cookies) == (429, ())
    assert 1 <= int(answer.headers["retry-after"]) <= 12
    assert sign_in(desk, **{**there, "X_Forwarded_For": "203.0.113.10"}).status == 303


def test_guesses_sent_all_at_once_get_no_more_tries(desk: PageServer) -> None:
    with ThreadPoolExecutor(20) as crowd:
        tries = list(crowd.map(lambda n: sign_in(desk, "maria", f"guess number {n}").status, range(20)))
    assert sorted(tries) == [403] * 5 + [429] * 15


def test_a_hundred_guesses_at_once_let_a_genuine_sign_in_from_elsewhere_through_first(
    desk: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, checked, real = threading.Event(), [], Users.check

    def check(self: Users, name: str, password: str) -> bool:
        assert begin.wait(20)
        checked.append(name)
        return real(self, name, password)

    def waiting() -> int:
        return sum(map(len, desk._server._tornado.auth_provider._checks.queue._lines.values()))

    monkeypatch.setattr(Users, "check", check)
    with ThreadPoolExecutor(101) as crowd:
        sent = [{"X_Forwarded_For": f"203.0.113.{n % 10}", "X_Forwarded_Proto": "https"} for n in range(100)]
        guesses = [crowd.submit(sign_in, desk, "maria", "guess number one", **one) for one in sent]
        assert until(lambda: waiting() == 98)  # two are at work
        genuine = crowd.submit(sign_in, desk, "joe")
        assert until(lambda: waiting() == 99)
        begin.set()
        assert genuine.result().status == 303
        assert sorted(guess.result().status for guess in guesses) == [403] * 50 + [429] * 50
    assert checked.index("joe") <= 4


def test_an_office_that_signs_in_at_once_behind_one_address_gets_in(desk: PageServer) -> None:
    with ThreadPoolExecutor(40) as office:
        assert [answer.status for answer in office.map(lambda _: sign_in(desk), range(40))] == [303] * 40


def test_signing_in_often_is_no_failure(desk: PageServer) -> None:
    assert [sign_in(desk).status for _ in range(8)] == [303] * 8


def test_another_site_signs_nobody_in_or_out(desk: PageServer) -> None:
    assert sign_in(desk, Origin="http://evil.example").status == 403
    assert sign_in(desk, Sec_Fetch_Site="cross-site").status == 403
    assert desk.ask("/logout", "POST", Origin="http://evil.example").status == 403


def test_a_password_is_not_asked_for_over_an_open_network(desk: PageServer) -> None:
    for sent in ({}, {"X_Forwarded_Proto": "http"}, {"X_Forwarded_Proto": "https, http"}):
        for answer in (
            desk.ask("/login", X_Forwarded_For="203.0.113.9", **sent),
            sign_in(desk, X_Forwarded_For="203.0.113.9", **sent),
        ):
            assert answer.status == 403
            assert "https" in answer.text
            assert "<form" not in answer.text


@pytest.mark.parametrize("forged", ["", "x", "a.b", "bWFyaWE.x", '"', "maria", "%00", "A" * 9_000])
def test_a_forged_cookie_lets_nobody_in(desk: PageServer, forged: str) -> None:
    assert desk.ask(Cookie=f"{COOKIE}={forged}").status == 302
    assert desk.ask(Cookie=f"user={forged}; is_guest=1").status == 302


def test_a_stolen_page_token_needs_its_users_cookie(desk: PageServer) -> None:
    maria, joe = cookie(sign_in(desk)), cookie(sign_in(desk, "joe"))
    token = desk.ask(**maria).token
    assert not desk.opens(token)
    assert not desk.opens(token, **joe)
    assert desk.opens(token, **maria)


def test_whoever_signs_out_needs_the_password_again(desk: PageServer) -> None:
    answer = desk.ask("/logout", "POST", Origin=desk.origin, **cookie(sign_in(desk)))
    assert (answer.status, answer.headers["location"]) == (303, "/login")
    assert answer.cookies[COOKIE].strip('"') == ""
    assert desk.ask("/logout").status == 200


def sign_out(server: PageServer, mine: dict[str, str]) -> Answer:
    return server.ask("/logout", "POST", Origin=server.origin, **mine)


def test_a_copied_cookie_opens_nothing_after_its_owner_signed_out(desk: PageServer) -> None:
    here, elsewhere, joe = cookie(sign_in(desk)), cookie(sign_in(desk)), cookie(sign_in(desk, "joe"))
    assert here != elsewhere
    page = desk.ask(**here)
    with desk.socket(desk.ask(**here).token, **here) as let_in:
        assert let_in
        sign_out(desk, here)
        assert desk.hangs_up()  # at once: no page of this ticket goes on
    assert desk.ask(**here).status == 302
    assert not desk.opens(page.token, **here)
    assert desk.ask(**elsewhere).status == 200
    assert desk.ask(**joe).status == 200


@pytest.mark.parametrize("forged", ["", "x", "a.b", "A" * 9_000])
def test_signing_out_with_a_cookie_that_is_none_ends_nothing(desk: PageServer, forged: str) -> None:
    maria = cookie(sign_in(desk))
    assert sign_out(desk, {"Cookie": f"{COOKIE}={forged}"}).status == 303
    assert desk.ask(**maria).status == 200


@pytest.fixture
def two_consoles(
    serve: Callable[..., PageServer], users: Users, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> tuple[PageServer, PageServer]:
    monkeypatch.setattr(serving, "SIGNED_OUT_MS", 100)
    given = {"auth": "basic", "operators": ("maria",), "users_file": str(users.path), "redis_url": valkey.url}
    return serve(**given), serve(**given)


def test_whoever_signs_out_at_one_console_has_signed_out_at_the_other(
    two_consoles: tuple[PageServer, PageServer], valkey: Valkey
) -> None:
    first, second = two_consoles
    mine = cookie(sign_in(first))
    with second.socket(second.ask(**mine).token, **mine) as let_in:
        assert let_in
        sign_out(first, mine)
        assert second.hangs_up()
    assert until(lambda: second.ask(**mine).status == 302)
    with redis.Redis.from_url(valkey.url) as client:
        kept = client.zrange("opsdash:signed_out", 0, -1, withscores=True)
        assert 0 < client.ttl("opsdash:signed_out") <= LONGEST_S
    ((member, _),) = kept
    assert member.decode() not in mine["Cookie"]
    assert not any(part in mine["Cookie"] for part in member.decode().split("."))


def test_signing_out_works_here_while_redis_is_away_and_everywhere_when_it_is_back(
    two_consoles: tuple[PageServer, PageServer], valkey: Valkey
) -> None:
    first, second = two_consoles
    mine = cookie(sign_in(first))
    valkey.stop()
    assert sign_out(first, mine).status == 303
    assert first.ask(**mine).status == 302
    assert second.ask(**mine).status == 200  # it can't know
    valkey.start()
    assert until(lambda: second.ask(**mine).status == 302, timeout_s=20)


def test_whoever_writes_to_redis_signs_nobody_out_by_it(
    two_consoles: tuple[PageServer, PageServer], valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed_out, "MOST", 20)
    first, _ = two_consoles
    mine = cookie(sign_in(first))
    with redis.Redis.from_url(valkey.url) as client:
        client.zadd("opsdash:signed_out", {f"forged{number}.seal{number}": 1e11 for number in range(50)})
        client.zadd("opsdash:signed_out", {"x" * 10_000: 1e11, "\0": float("inf")})
        reads = client.info("commandstats")["cmdstat_eval"]["calls"]
        assert until(lambda: client.info("commandstats")["cmdstat_eval"]["calls"] > reads + 3)
        assert first.ask(**mine).status == 200
        client.delete("opsdash:signed_out")
        client.set("opsdash:signed_out", "not a set")
    sign_out(first, mine)
    assert first.ask(**mine).status == 302


def test_of_too_many_ended_cookies_none_is_good_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_out, "MOST", 10)
    known = SignedOut(None, b"key", clock=lambda: 1_000.0)
    for number in range(50):
        known.end(f"mark {number}", 2_000.0 + number)
    assert all(known.has(f"mark {number}", 2_000.0 + number) for number in range(50))
    assert len(known._ended) == 10
    assert not known.has("another", 2_100.0)


def test_a_removed_user_is_shut_out_and_their_open_page_closed(
    serve: Callable[..., PageServer], users: Users, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "SIGNED_OUT_MS", 200)
    desk = serve(auth="basic", operators=("maria", "joe"), users_file=str(users.path))
    maria, joe = cookie(sign_in(desk)), cookie(sign_in(desk, "joe"))
    page = desk.ask(**maria)
    with desk.socket(page.token, **maria) as let_in:
        assert let_in
        users.remove("maria")
        assert desk.ask(**maria).status == 302
        assert desk.hangs_up()
    assert desk.ask(**joe).status == 200


def test_a_users_file_that_others_may_read_lets_nobody_in(desk: PageServer, users: Users) -> None:
    maria = cookie(sign_in(desk))
    users.path.chmod(0o644)
    assert desk.ask(**maria).status == 302
    assert sign_in(desk).status == 503


def test_names_that_are_markup_are_shown_as_text(desk: PageServer) -> None:
    answer = sign_in(desk, "<script>alert(1)</script>", "<script>alert(1)</script>")
    assert "<script>" not in answer.text
