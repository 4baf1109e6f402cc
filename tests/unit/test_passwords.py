from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from support.errors import fails

from opsdash.config import passwords as module
from opsdash.config.passwords import Hashed, Users
from opsdash.config.settings import Settings
from opsdash.errors import Invalid, Refused
from opsdash.web.auth.cookies import LIFETIME_S, SessionCookies

PASSWORD = "correct horse battery"


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes cost a thousandth: what they are made of stays."""
    monkeypatch.setattr(module, "N", 32)


@pytest.fixture
def users(tmp_path: Path, cheap: None) -> Users:
    made = Users(tmp_path / "folder" / "users")
    made.put("maria", PASSWORD)
    return made


def test_a_user_is_let_in_with_their_password_and_no_other(users: Users) -> None:
    assert users.check("maria", PASSWORD)
    for name, password in (("maria", PASSWORD + " "), ("maria", ""), ("joe", PASSWORD), ("", ""), ("maria", "\0")):
        assert not users.check(name, password)


def test_the_file_is_its_owners_alone_and_holds_no_password(users: Users) -> None:
    assert stat.S_IMODE(users.path.stat().st_mode) == 0o600
    text = users.path.read_text()
    assert text.startswith("maria:scrypt$32$8$1$")
    assert PASSWORD not in text
    assert sorted(path.name for path in users.path.parent.iterdir()) == ["users", "users.lock"]


def test_two_users_with_one_password_do_not_show_it(users: Users) -> None:
    users.put("joe", PASSWORD)
    assert users.read()["joe"].digest != users.read()["maria"].digest


def test_a_new_password_replaces_the_old_one_and_a_removed_user_is_gone(users: Users) -> None:
    assert users.put("maria", "another password") is False
    assert not users.check("maria", PASSWORD)
    assert users.check("maria", "another password")
    users.remove("maria")
    assert not users.check("maria", "another password")
    with fails(Refused, field="name"):
        users.remove("maria")


@pytest.mark.parametrize("name", ["", " maria", "a,b", "a\nroot:scrypt$1", "m" * 201, "maria\u202e"])
def test_a_name_that_may_be_two_or_hide_something_is_refused(users: Users, name: str) -> None:
    before = users.path.read_text()
    with fails(Refused, field="name", changed="nothing"):
        users.put(name, PASSWORD)
    assert users.path.read_text() == before


@pytest.mark.parametrize("name", ["MARIA", "maria\u2800", "\uff4daria"])
def test_a_name_that_looks_like_anothers_is_refused(users: Users, name: str) -> None:
    users.put("maria", PASSWORD)
    with pytest.raises(Refused, match="looks like this one"):
        users.put(name, PASSWORD)
    users.put("maria", PASSWORD + "2")


def test_a_name_with_a_colon_is_one_name(users: Users) -> None:
    users.put("realm:joe", PASSWORD)
    assert set(users.read()) == {"maria", "realm:joe"}
    assert users.check("realm:joe", PASSWORD)


def test_a_short_password_is_refused(users: Users) -> None:
    with fails(Refused, field="password"):
        users.put("joe", "123456789")


def test_a_file_that_others_may_read_or_that_was_spoilt_lets_nobody_in(users: Users) -> None:
    users.path.chmod(0o640)
    with fails(Invalid, setting="OPSDASH_USERS_FILE"):
        users.check("maria", PASSWORD)
    users.path.chmod(0o600)
    for spoilt in ("maria\n", "maria:plain\n", "maria:scrypt$x$8$1$AA==$AA==\n", "maria:md5$1$8$1$AA==$AA==\n"):
        users.path.write_text(spoilt)
        with pytest.raises(Invalid, match="line 1"):
            users.check("maria", PASSWORD)
    users.path.write_bytes(b"\xff\xfe")
    with fails(Invalid, setting="OPSDASH_USERS_FILE"):
        users.read()


@pytest.mark.long
def test_an_unknown_name_takes_as_long_as_a_wrong_password(tmp_path: Path) -> None:
    users = Users(tmp_path / "users")
    users.put("maria", PASSWORD)

    def took(name: str) -> float:
        """Of the processor: by the clock it would be the machine's other work that is measured."""
        began = time.thread_time()
        users.check(name, "a wrong password")
        return time.thread_time() - began

    pairs = [(took("maria"), took("nobody")) for _ in range(5)]
    known, unknown = map(min, zip(*pairs, strict=True))
    assert 0.5 < known / unknown < 2, (known, unknown)


def test_a_hash_can_be_read_back_and_says_what_it_costs() -> None:
    made = Hashed.of(PASSWORD)
    assert Hashed.parse(str(made)) == made
    assert (made.n, made.r, made.p) == (2**15, 8, 1)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_env({}, auth="basic", secret_key="a-key-for-tests-only", users_file=str(tmp_path / "users"))


def test_a_session_cookie_names_its_holder_until_it_expires(settings: Settings, users: Users) -> None:
    clock = Clock()
    tickets = SessionCookies(settings, users, clock)
    ticket = tickets.issue("maria")
    assert tickets.holder(ticket) == "maria"
    clock.now += LIFETIME_S
    assert tickets.holder(ticket) == ""


def test_a_session_cookie_ends_with_its_users_password(settings: Settings, users: Users) -> None:
    tickets = SessionCookies(settings, users)
    ticket = tickets.issue("maria")
    users.put("maria", "another password")
    assert tickets.holder(ticket) == ""
    ticket = tickets.issue("maria")
    users.remove("maria")
    assert tickets.holder(ticket) == ""


def test_a_session_cookie_that_was_changed_or_signed_by_another_key_is_nobodys(
    settings: Settings, users: Users
) -> None:
    tickets = SessionCookies(settings, users)
    ticket = tickets.issue("maria")
    other = Settings.from_env({}, secret_key="another-key-for-tests")
    forged = [
        SessionCookies(other, users).issue("maria"),
        ticket[:-1],
        ticket[1:],
        ticket + "A",
        "",
        ".",
        "a.b",
        "\xff.\xff",
    ]
    body, _, signature = ticket.partition(".")
    forged += [f"{body}.", f".{signature}", f"{body}A.{signature}", f"{signature}.{body}"]
    assert [tickets.holder(value) for value in forged] == [""] * len(forged)
