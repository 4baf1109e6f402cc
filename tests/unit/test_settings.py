from __future__ import annotations

import dataclasses
import re
import stat
from pathlib import Path

import pytest
from support.errors import fails

from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.model import Objective, Role

README = Path(__file__).parents[2] / "README.md"


def settings(**variables: str) -> Settings:
    return Settings.from_env({f"OPSDASH_{name}": value for name, value in variables.items()})


def test_an_empty_environment_gives_the_documented_defaults():
    plain = settings()
    assert plain.redis_url == "redis://localhost:6379/0"
    assert plain.database_url.startswith("sqlite:///")
    assert (plain.auth, plain.pause_ttl_s, plain.undo_window_s, plain.poll_interval_s) == (None, 86_400, 86_400, 2)


def test_an_empty_variable_counts_as_not_set():
    assert settings(POLL_INTERVAL_S="  ").poll_interval_s == 2


def test_a_separator_of_control_characters_is_written_as_escapes():
    assert settings(SEPARATOR=r"\x06\x16").separator == "\x06\x16"
    assert settings(SEPARATOR=":").separator == ":"
    assert settings().separator is None


def test_an_environment_can_say_that_there_is_no_key_prefix():
    assert settings(KEY_PREFIX='""').key_prefix == ""
    assert settings(KEY_PREFIX="").key_prefix is None
    assert settings(KEY_PREFIX="shop:").key_prefix == "shop:"


def test_a_variable_of_the_demo_is_no_misspelled_setting():
    assert settings(DEMO_PREFIX="opsdash-demo-1:").key_prefix is None


def test_a_variable_of_the_workers_is_no_misspelled_setting():
    assert settings(BUILD="registry.example.com/shop:1.42").environment is None


def test_priority_steps_are_numbers_with_commas():
    assert settings(PRIORITY_STEPS="0, 4,8").priority_steps == (0, 4, 8)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("POLL_INTERVAL_S", "11", "expected 0.2 to 10"),
        ("POLL_INTERVAL_S", "soon", "expected a number"),
        ("POLL_INTERVAL_S", "nan", "expected 0.2 to 10"),
        ("PAUSE_TTL_S", "0", "expected 1 to"),
        ("PAUSE_TTL_S", "1.5", "expected a number"),
        ("UNDO_WINDOW_S", "-1", "expected 0 to"),
        ("FAILED_TTL_S", "5", "expected 60 to"),
        ("TASK_URL", "flower/{task_id}", "expected addresses"),
        ("TASK_URL", "https://flower/task", "expected an address"),
        ("TASK_URL", "https://flower/{password}", "expected an address"),
        ("TASK_URL", "javascript://x/{task_id}", "expected addresses"),
        ("AUTH", "open", "expected dev, header, basic or oauth"),
        ("USER_HEADER", "X Y", "expected the name of a header"),
        ("USER_HEADER", "Cookie", "that only the proxy sets"),
        ("TRUSTED_PROXIES", "10.0.0.1/33", "expected addresses or networks"),
        ("TRUSTED_PROXIES", "proxy.example", "expected addresses or networks"),
        ("PAGE_OPENS_PER_MINUTE", "0", "expected 1 to"),
        ("REDIS_URL", "localhost:6379", "expected redis://host:port/db"),
        ("REDIS_URL", "redis://localhost/abc", "with a number as db"),
        ("REDACT", "(", "expected a regular expression"),
        ("KEY_PREFIX", "x" * 101, "expected global_keyprefix"),
        ("KEY_PREFIX", "a\x07b", "expected global_keyprefix"),
        ("SEPARATOR", "x" * 101, "expected sep of the app"),
        ("SEPARATOR", r"\x00", "expected sep of the app"),
        ("PRIORITY_STEPS", "0,high", "expected numbers from 0 to 255"),
        ("PRIORITY_STEPS", "3,0", "the lowest first"),
        ("PRIORITY_STEPS", "0,0", "the lowest first"),
        ("PRIORITY_STEPS", "0,256", "expected numbers from 0 to 255"),
        ("PRIORITY_STEPS", ",", "expected numbers from 0 to 255"),
        ("SECRET_KEY", "short", "expected at least 16 characters"),
    ],
)
def test_a_wrong_value_names_the_variable_and_what_is_expected(variable: str, value: str, expected: str):
    with pytest.raises(Invalid) as raised:
        settings(**{variable: value})
    assert str(raised.value).startswith(f"OPSDASH_{variable}: ")
    assert expected in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_wrong_secret_is_not_repeated_in_the_error():
    with pytest.raises(Invalid) as raised:
        settings(SECRET_KEY="x")
    assert str(raised.value) == "OPSDASH_SECRET_KEY: expected at least 16 characters, got 1"


def test_neither_the_settings_nor_their_labels_show_a_password():
    given = settings(
        REDIS_URL="redis://user:hunter2@broker:6380/1",
        DATABASE_URL="postgresql://u:hunter2@db/x",
        SECRET_KEY="hunter2" * 4,
    )
    assert "hunter2" not in repr(given)
    assert given.redis_label == "redis://broker:6380/1"


def test_a_valkey_url_is_a_redis_url():
    assert settings(REDIS_URL="valkey://broker:1/0").redis_url == "redis://broker:1/0"
    assert settings(REDIS_URL="valkeys://broker:1/0").redis_url == "rediss://broker:1/0"


def test_an_unknown_keyword_is_refused():
    with fails(Invalid, field="colour"):
        Settings.from_env({}, colour="red")


def test_the_highest_role_that_a_list_gives_counts():
    given = settings(ADMINS="ann", OPERATORS="bob,group:ops", VIEWERS="*")
    assert given.actor("ann", surface="page").role is Role.ADMIN
    assert given.actor("bob", surface="page").role is Role.OPERATOR
    assert given.actor("eve", ["ops"], surface="page").role is Role.OPERATOR
    assert given.actor("eve", surface="page").role is Role.VIEWER


def test_behind_a_proxy_nobody_has_a_role_until_a_list_gives_one():
    assert settings(AUTH="header").actor("ann", surface="page").role is None


def test_the_local_user_of_dev_and_a_shell_are_admin_without_lists():
    assert settings(AUTH="dev").actor("ann", surface="page").role is Role.ADMIN
    assert settings().actor("ann", surface="cli").role is Role.ADMIN


def test_the_lists_count_in_a_shell_too():
    assert settings(OPERATORS="bob").actor("ann", surface="cli").role is None


def test_a_user_named_like_a_mark_gains_nothing():
    given = settings(ADMINS="group:ops")
    assert given.actor("ops", surface="page").role is None
    assert given.actor("group:ops", surface="page").role is None


def test_whoever_comes_over_the_network_has_no_role_until_a_list_gives_one():
    for auth in ("header", "basic", "oauth"):
        for surface in ("page", "api"):
            assert settings(AUTH=auth).actor("ann", surface=surface).role is None


def test_a_proxy_is_an_address_or_a_network():
    assert settings().trusted_proxies == ("127.0.0.0/8", "::1/128")
    assert settings(TRUSTED_PROXIES="10.0.0.7, 10.1.0.9/16").trusted_proxies == ("10.0.0.7/32", "10.1.0.0/16")


def test_a_key_is_made_once_and_kept_beside_the_sqlite_file(tmp_path: Path):
    given = settings(DATABASE_URL=f"sqlite:///{tmp_path}/data/opsdash.sqlite3")
    with fails(Invalid, setting="OPSDASH_DATABASE_URL"):
        given.secret()
    assert not (tmp_path / "data").exists(), "a slip in the path makes no folder"
    (tmp_path / "data").mkdir()
    key = given.secret()
    assert given.secret() == key
    assert len(key) >= 32
    file = tmp_path / "data" / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_sqlite_file_the_key_must_be_given():
    with fails(Invalid, setting="OPSDASH_SECRET_KEY"):
        settings(DATABASE_URL="postgresql://db/x").secret()


def test_a_key_file_cut_short_is_said_and_not_used(tmp_path: Path):
    (tmp_path / "secret.key").write_text("abc")
    with pytest.raises(Invalid, match="cut short"):
        settings(DATABASE_URL=f"sqlite:///{tmp_path}/x.sqlite3").secret()


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_the_readme_documents_every_setting(field: dataclasses.Field):
    rows = [line for line in README.read_text().splitlines() if line.startswith(f"| `OPSDASH_{field.name.upper()}` |")]
    assert len(rows) == 1
    assert field.metadata["doc"] in rows[0]


def test_each_api_token_has_a_name_and_a_role():
    made = settings(API_TOKENS="ci:operator:0123456789abcdef, grafana:viewer:fedcba9876543210==")
    assert [(token.name, token.role) for token in made.api_tokens] == [("ci", Role.OPERATOR), ("grafana", Role.VIEWER)]
    assert made.api_tokens[1].token == "fedcba9876543210=="
    assert "0123456789abcdef" not in repr(made) + repr(made.api_tokens[0])


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("0123456789abcdef", "expected name:role:token with role of viewer, operator, admin; number 1 is none"),
        ("ci:root:0123456789abcdef", "expected name:role:token"),
        ("ci:admin:0123456789abcdef,", "number 2 is none"),
        ("ci:admin:s3cret", "the token of 'ci' has 6 characters; expected at least 16"),
        ("ci:admin:s3cret with blanks in it", "expected at least 16, of letters, digits and -._~+/="),
        ("ci:admin:0123456789abcdef,ci:viewer:fedcba9876543210", "'ci' repeats the name or the token"),
        ("ci:admin:0123456789abcdef,cd:viewer:0123456789abcdef", "'cd' repeats the name or the token"),
    ],
)
def test_a_wrong_api_token_is_one_line_that_does_not_repeat_it(value: str, says: str):
    with pytest.raises(Invalid, match=re.escape(says)) as caught:
        settings(API_TOKENS=value)
    assert str(caught.value).startswith("OPSDASH_API_TOKENS: ")
    assert "0123456789abcdef" not in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_objectives_are_read_strictly() -> None:
    read = Settings.from_env({"OPSDASH_OBJECTIVES": "emails=95% within 30s over 1h, a=b=99.5 % within 2m over 24h"})
    assert read.objectives == (
        ("emails", Objective(share=0.95, within_s=30.0, over_s=3_600)),
        ("a=b", Objective(share=0.995, within_s=120.0, over_s=86_400)),
    )


@pytest.mark.parametrize(
    "value",
    [
        *("emails", "emails=95%", "=95% within 30s over 1h", "emails=0% within 30s over 1h"),
        *("emails=100% within 30s over 1h", "emails=95% within 31s over 1h", "emails=95% within 30 over 1h"),
        *("emails=95% within 30s over 5s", "emails=95% within 30s over 2d", "emails=-5% within 30s over 1h"),
        "emails=95% within 30s over 1h,emails=90% within 10s over 1h",
    ],
)
def test_an_objective_that_says_something_else_is_refused(value: str) -> None:
    with pytest.raises(Invalid, match="OPSDASH_OBJECTIVES"):
        Settings.from_env({"OPSDASH_OBJECTIVES": value})


def test_of_a_time_that_is_not_measured_exactly_those_near_it_are_named() -> None:
    with pytest.raises(Invalid, match="20s, 30s"):
        Settings.from_env({"OPSDASH_OBJECTIVES": "emails=95% within 25s over 1h"})
