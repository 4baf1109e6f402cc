"""Roles in a file: what is taken away there counts at the next act, without a restart."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import pytest
from support.errors import fails

from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.model import Actor, Role


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "roles"
    path.write_text("# who may\nadmins: ann\noperators: bob, group:ops # and theirs\n\nviewers: *\noperators: cid\n")
    return path


def settings(file: Path, **variables: str) -> Settings:
    return Settings.from_env({"OPSDASH_ROLES_FILE": str(file), **variables})


def test_a_file_gives_roles_as_the_lists_do(file: Path) -> None:
    given = settings(file)
    roles = {name: given.actor(name, surface="page").role for name in ("ann", "bob", "cid", "eve")}
    assert roles == {"ann": Role.ADMIN, "bob": Role.OPERATOR, "cid": Role.OPERATOR, "eve": Role.VIEWER}
    assert given.actor("eve", ["ops"], surface="page").role is Role.OPERATOR


def test_the_highest_role_of_file_and_lists_counts(file: Path) -> None:
    given = settings(file, OPSDASH_ADMINS="bob", OPSDASH_VIEWERS="ann")
    assert given.actor("bob", surface="page").role is given.actor("ann", surface="page").role is Role.ADMIN


def test_a_role_taken_away_in_the_file_is_gone_at_once_and_one_that_is_given_is_there(file: Path) -> None:
    given = settings(file)
    bob = given.actor("bob", surface="page")
    file.write_text("operators: eve\n")
    assert given.at_this_moment(bob).role is None
    assert given.actor("eve", surface="page").role is Role.OPERATOR


def test_who_has_become_more_since_the_page_was_opened_opens_it_again(file: Path) -> None:
    given = settings(file)
    eve = given.actor("eve", surface="page")
    file.write_text("admins: eve\n")
    assert given.at_this_moment(eve).role is Role.VIEWER


def test_groups_are_looked_at_again_too(file: Path) -> None:
    given = settings(file)
    eve = given.actor("eve", ["ops"], surface="page")
    assert given.at_this_moment(eve).role is Role.OPERATOR
    file.write_text("viewers: *\n")
    assert given.at_this_moment(eve).role is Role.VIEWER


def test_the_role_of_a_token_is_not_looked_up_by_its_name(file: Path) -> None:
    token = Actor(name="deploy-bot", role=Role.OPERATOR, surface="api")
    assert settings(file).at_this_moment(token) == token


def test_without_lists_the_role_is_as_it_was_given() -> None:
    maria = Actor(name="maria", role=Role.OPERATOR, surface="page")
    assert Settings.from_env({}).at_this_moment(maria) == maria


@pytest.mark.parametrize("broken", ["operaters: bob\n", "bob\n", None], ids=["misspelled", "no list", "gone"])
def test_a_file_that_breaks_while_opsdash_runs_gives_nobody_a_role_and_the_log_says_why(
    file: Path, caplog: pytest.LogCaptureFixture, broken: str | None
) -> None:
    given = settings(file, OPSDASH_ADMINS="ann")
    if broken is None:
        file.unlink()
    else:
        file.write_text(broken)
    with caplog.at_level(logging.ERROR):
        assert given.actor("bob", surface="cli").role is None
    assert "OPSDASH_ROLES_FILE gives no user a role" in caplog.text
    assert given.actor("ann", surface="cli").role is Role.ADMIN, "the variables still count"


@pytest.mark.parametrize("broken", ["operaters: bob\n", "bob\n"])
def test_a_file_with_a_mistake_is_said_at_the_start_with_its_line(file: Path, broken: str) -> None:
    file.write_text(f"admins: ann\n{broken}")
    with pytest.raises(Invalid, match=r"OPSDASH_ROLES_FILE: .*, line 2: expected admins:, operators: or viewers:"):
        settings(file)
    with fails(Invalid, setting="OPSDASH_ROLES_FILE"):
        settings(file.with_name("nowhere"))


def test_an_actor_carries_the_groups_it_came_with(file: Path) -> None:
    actor = settings(file).actor("eve", ["ops", "dev"], surface="page")
    assert dataclasses.asdict(actor)["groups"] == ("ops", "dev")
