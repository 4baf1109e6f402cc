"""The tree of a workflow: each task once, whatever the tasks say of each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.messages import message

from opsdash.model.signatures import DEEP, MOST_UNSENT
from opsdash.model.workflow import WorkflowTask
from opsdash.services.workflows.links import Links, links_of
from opsdash.services.workflows.tree import DEEPEST, MOST_SIBLINGS, tree_of

IDS = st.sampled_from(["a", "b", "c", "d", "e", "f", "g", ""])


def task(task_id: str, parent: str = "", root: str = "", group: str = "") -> WorkflowTask:
    return WorkflowTask(id=task_id, state="waiting", parent=parent, root=root, group=group)


def drawn(*tasks: WorkflowTask, **more: Any) -> list[str]:
    tree = tree_of(tasks, {}, **more)
    return ["." * row.depth + row.id + ("?" if row.gap else "") for row in tree.rows]


def test_children_hang_under_their_parents_and_what_is_gone_is_a_gap() -> None:
    assert drawn(task("r", root="r"), task("a", "r", "r"), task("b", "a", "r"), task("c", "r", "r")) == [
        "r",
        ".a",
        "..b",
        ".c",
    ]
    assert drawn(task("b", "a", "r")) == ["r?", ".a?", "..b"], "the root and the parent have ended"
    assert drawn(task("b", "", "r")) == ["r?", ".b"]
    assert drawn(task("a", root="a", group="g"), task("b", root="b", group="g"), group="g") == ["g", ".a", ".b"]


@given(
    st.lists(st.tuples(IDS, IDS, IDS, IDS), max_size=12),
    st.dictionaries(st.integers(0, 11), st.integers(0, 11), max_size=6),
    st.sampled_from(["", "g"]),
)
def test_whatever_tasks_say_of_each_other_each_is_drawn_once(
    said: list[tuple[str, str, str, str]], under: Mapping[int, int], group: str
) -> None:
    once = list({one[0] or at: task(*one) for at, one in enumerate(said)}.values())
    known = {at: parent for at, parent in under.items() if at < len(once) and parent < len(once) and at != parent}
    tree = tree_of(once, known, group)
    ids = [row.id for row in tree.rows if row.id]
    assert len(ids) == len(set(ids))
    assert {one.id for one in once} <= {row.id for row in tree.rows}
    assert len(tree.rows) == tree.total + sum(row.part == "group" for row in tree.rows)
    assert {row.id for row in tree.rows if row.gap and row.part != "group"} == set(tree.gaps)
    assert all(row.depth <= before.depth + 1 for before, row in zip(tree.rows, tree.rows[1:], strict=False))
    assert not tree.rows or tree.rows[0].depth == 0


def test_a_chain_of_thousands_and_a_group_of_thousands_are_drawn_within_bounds() -> None:
    chain = [task(f"t{n}", f"t{n - 1}" if n else "", "t0") for n in range(5_000)]
    tree = tree_of(chain, {})
    assert (len(tree.rows), tree.total, tree.rows[-1].depth) == (500, 5_000, DEEPEST)
    wide = [task("r", root="r"), *(task(f"t{n}", "r", "r") for n in range(10_000)), task("x", "t3", "r")]
    tree = tree_of(wide, {})
    assert (tree.total, tree.rows[0].of_children, len(tree.rows[0].children)) == (10_002, 10_000, 100)
    assert len(tree.rows) == MOST_SIBLINGS + 2
    assert "x" in {row.id for row in tree.rows}


def with_embed(task_id: str, embed: Any, **headers: Any) -> Links:
    found = links_of(message(task_id, embed=embed, **headers).encode())
    assert found is not None
    return found


def signature(name: str, task_id: str = "", kind: str | None = None, **kwargs: Any) -> dict[str, Any]:
    options = {"task_id": task_id} if task_id else {}
    return {"task": name, "options": options, "subtask_type": kind, "kwargs": kwargs, "args": []}


def test_what_a_chain_sends_later_is_read_in_the_order_in_which_it_is_sent() -> None:
    header = signature("celery.group", "g", "group", tasks=[signature("h", "h1"), signature("h", "h2")])
    chord = signature("celery.chord", "g", "chord", header=header, body=signature("body", "b1"))
    found = with_embed("one", {"chain": [signature("last", "l1"), chord, signature("two", "t1")]}, root_id="one")
    assert [(one.id, one.part, one.after) for one in found.unsent] == [
        ("t1", "next", -1),
        ("h1", "next", 0),
        ("h2", "next", 0),
        ("b1", "body", 0),
        ("l1", "next", 3),
    ]
    assert [one.group for one in found.unsent] == ["", "g", "g", "", ""]
    found = with_embed("one", {"callbacks": [signature("after")], "errbacks": [signature("broken", "e1")]})
    assert [(one.id, one.name, one.part) for one in found.unsent] == [
        ("", "after", "callback"),
        ("e1", "broken", "errback"),
    ]


def test_hostile_signatures_and_headers_are_bounded() -> None:
    nested: Any = signature("t", "t1")
    for _ in range(DEEP + 5):
        nested = signature("celery.chain", "c", "chain", tasks=[nested])
    found = with_embed("one", {"chain": [nested]})
    assert (found.unsent, found.cut) == ((), True)
    wide = signature("celery.group", "g", "group", tasks=[signature("t", f"t{n}") for n in range(3_000)])
    found = with_embed("one", {"chain": [wide]})
    assert (len(found.unsent), found.cut) == (MOST_UNSENT, True)
    for odd in (7, "x", None, ["x", 3], {"chain": 7, "chord": "x", "callbacks": {"a": 1}}, {"chain": [[], 3, None]}):
        assert with_embed("one", odd).unsent == ()
    for odd in ({"tasks": 7}, {"tasks": [[3]]}, {"header": 7, "body": []}):
        for kind in ("chain", "group", "chord"):
            assert with_embed("one", {"chain": [signature("c", "c", kind, **odd)]}).unsent == ()
    found = with_embed("one", {}, root_id=7, parent_id=["x"], group={"a": 1}, retries="x")
    assert (found.root, found.parent, found.group, found.retries) == ("", "", "", 0)
    assert with_embed("one", {}, root_id="x" * 300).root == ""


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "task",
                        "options",
                        "kwargs",
                        "subtask_type",
                        "task_id",
                        "tasks",
                        "header",
                        "body",
                        "chain",
                        "chord",
                        "callbacks",
                    ]
                ),
                inner | st.sampled_from(["chain", "group", "chord"]),
                max_size=5,
            )
        ),
    )
)
def test_no_signature_breaks_the_look(embed: Any) -> None:
    assert with_embed("one", embed).id == "one"
    assert with_embed("one", {"chain": [embed, embed], "chord": embed}).id == "one"
