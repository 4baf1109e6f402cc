"""Links from a failed task to where else it is shown: only web addresses, and nothing from outside changes where to."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.model import Failure
from opsdash.services.failures.links import links

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FLOWER, JAEGER = "https://flower.example/task/{task_id}", "https://jaeger.example/trace/{trace_id}"


def failure(**fields: str) -> Failure:
    return Failure(id="a", version="1", kind="failed", at=NOW, first_at=NOW, **{"task_id": "a-1", **fields})


def test_each_address_is_filled_in_and_one_of_traces_only_for_a_task_with_a_trace():
    assert links((FLOWER, JAEGER), failure()) == ("https://flower.example/task/a-1",)
    traced = failure(traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    assert links((FLOWER, JAEGER), traced)[1] == f"https://jaeger.example/trace/{TRACE}"
    assert links((JAEGER,), failure(traceparent=f"00-{'0' * 32}-00f067aa0ba902b7-01")) == ()
    assert links((FLOWER,), failure(task_id="")) == ()


@given(st.text(min_size=1, max_size=40))
def test_whatever_the_id_is_the_link_leads_to_the_host_and_path_of_the_settings(task_id: str):
    for link in links((FLOWER,), failure(task_id=task_id)):
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc, parts.query, parts.fragment) == ("https", "flower.example", "", "")
        assert parts.path.startswith("/task/")
        assert "/" not in parts.path.removeprefix("/task/")
        assert not set(link) & set("\"'<> \\")
    if task_id.isascii():
        assert unquote(links((FLOWER,), failure(task_id=f"x{task_id}"))[0]).endswith(f"x{task_id}")


def test_an_address_that_was_given_in_python_is_no_link_unless_it_is_of_the_web():
    assert links(("javascript:alert({task_id})", "data:{task_id}"), failure()) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        "javascript:alert('{task_id}')",
        "https://{task_id}.example/",
        "https://user@host/{task_id}",
        "ftp://host/{task_id}",
        "https://host/",
        "https://host/{nobody}",
        'https://host/"{task_id}',
        f"{FLOWER} javascript:{{task_id}}",
    ],
)
def test_an_address_that_could_lead_elsewhere_is_refused_by_its_setting(wrong: str):
    with pytest.raises(Invalid, match="OPSDASH_TASK_URL"):
        Settings.from_env({"OPSDASH_TASK_URL": wrong})


def test_several_addresses_are_separated_by_blanks():
    assert Settings.from_env({"OPSDASH_TASK_URL": f"{FLOWER}  {JAEGER}"}).task_url == (FLOWER, JAEGER)
