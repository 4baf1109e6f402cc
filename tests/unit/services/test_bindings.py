"""What kombu's binding sets tell, whatever stands in them."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from opsdash.services.broker.bindings import bound_queue, fits, is_task_queue, proven_separator, separators

EXCHANGE = "celery.pidbox"
DEFAULT = "\x06\x16"
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


def mailbox(separator: str, hostname: str, exchange: str = EXCHANGE) -> str:
    """As kombu writes the binding of a worker's mailbox: key and pattern are empty."""
    return separator.join(["", "", f"{hostname}.{exchange}"])


@given(separator=TEXT, hostnames=st.lists(TEXT, min_size=1, max_size=5))
def test_a_separator_that_is_told_is_the_one_that_was_used(separator: str, hostnames: list[str]):
    members = [mailbox(separator, hostname) for hostname in hostnames]
    assert proven_separator(members, EXCHANGE) in {separator, None}
    assert fits(separator, members, EXCHANGE)


@given(separator=st.sampled_from([":", DEFAULT, "/", "|", ";:"]), names=st.lists(TEXT, min_size=1, max_size=5))
def test_the_separators_people_use_are_read_off_the_mailboxes_of_workers_with_usual_names(
    separator: str, names: list[str]
):
    assert proven_separator([mailbox(separator, f"celery@{name}") for name in names], EXCHANGE) == separator


@given(one=TEXT, other=TEXT, hostnames=st.tuples(TEXT, TEXT))
def test_two_separators_prove_none(one: str, other: str, hostnames: tuple[str, str]):
    assume(one != other)
    members = [mailbox(one, hostnames[0]), mailbox(other, hostnames[1])]
    assert proven_separator(members, EXCHANGE) is None


@given(member=st.text())
def test_a_text_that_is_no_mailbox_proves_nothing(member: str):
    assume(not member.endswith(f".{EXCHANGE}"))
    assert separators(member, EXCHANGE) == set()
    assert proven_separator([member, mailbox(":", "w@x")], EXCHANGE) is None


def test_no_mailbox_proves_nothing():
    assert proven_separator([], EXCHANGE) is None


def test_a_hostname_that_goes_on_as_the_separator_ends_leaves_it_in_doubt():
    assert proven_separator([mailbox("::", "w@x")], EXCHANGE) is None
    assert fits("::", [mailbox("::", "w@x")], EXCHANGE)
    assert not fits(DEFAULT, [mailbox("::", "w@x")], EXCHANGE)


@given(separator=st.sampled_from([":", DEFAULT]), key=st.from_regex(r"[a-z.#*]{0,9}", fullmatch=True))
def test_a_queue_is_read_off_its_binding_whatever_its_key(separator: str, key: str):
    assert bound_queue(separator.join([key, "", "emails"]), separator) == "emails"
    assert bound_queue(separator.join([key, "", "emails"]), "|") is None


@pytest.mark.parametrize(
    "name",
    [
        "w@x.celery.pidbox",
        "3f0c1b6e-0000-4000-8000-000000000001.reply.celery.pidbox",
        "bcast.3f0c1b6e-0000-4000-8000-000000000002",
        "news.bcast.3f0c1b6e-0000-4000-8000-000000000003",
        "celeryev.3f0c1b6e-0000-4000-8000-000000000004",
        "",
    ],
)
def test_mailboxes_events_and_unique_broadcasts_are_no_queues_of_tasks(name: str):
    assert not is_task_queue(name)


def test_a_queue_of_a_guessed_exchange_is_taken_only_where_it_is_no_broadcast():
    assert bound_queue("::news.one", ":", fanout=True) is None
    assert bound_queue("news::news", ":", fanout=True) == "news"
