"""The OpenAPI document is true: a fuzzer that knows only the document finds nothing that it does not say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.served import Client

from opsdash.operation import registry

ROOT = Path(__file__).parents[2]


def test_the_document_is_openapi_3_1_and_has_a_path_for_every_operation(api: Client):
    document = api.get("/api/v1/openapi.json").json
    from openapi_spec_validator import OpenAPIV31SpecValidator  # half a second; each process of a run reads this file

    OpenAPIV31SpecValidator(document).validate()
    assert document["servers"] == [{"url": "/ops"}]
    assert {f"/api/v1/operations/{name}" for name in registry()} < document["paths"].keys()
    schemas = document["components"]["schemas"]
    assert schemas["AuditEntry"]["properties"]["timestamp"] == {"type": "string", "format": "date-time"}
    assert schemas["ClearQueueParams"]["required"] == ["queue"]


def test_every_read_and_every_kind_of_problem_is_explained_in_the_docs(api: Client):
    page = (ROOT / "docs" / "api.md").read_text()
    for path in api.get("/api/v1/openapi.json").json["paths"]:
        assert "/operations/" in path or f"`{path}`" in page, path
    sources = "".join(path.read_text() for path in (ROOT / "opsdash" / "api").glob("*.py"))
    kinds = re.findall(r'(?:problem|ProblemError)\(\s*[\w.]+,\s*"([a-z-]+)"', sources)
    assert len(set(kinds)) > 10
    for kind in set(kinds) - {"bug"}:
        assert f"`{kind}`" in page, kind


def fuzz(api: Client, home: Path, examples: int, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            f"{api.url}/api/v1/openapi.json",
            f"--url={api.url}",
            f"--header=Authorization: Bearer {api.token}",
            "--checks=all",
            "--exclude-path=/api/v1/events",  # a stream has no end to wait for; it has tests of its own
            f"--max-examples={examples}",
            "--generation-deterministic",
            "--no-color",
            *more,
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=home,  # it leaves its cache where it runs
    )


@pytest.mark.slow
def test_the_api_passes_every_check_of_schemathesis(api: Client, tmp_path: Path):
    done = fuzz(api, tmp_path, 50)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_a_few_requests_of_schemathesis_find_nothing(api: Client, tmp_path: Path):
    done = fuzz(api, tmp_path, 1, "--phases=examples,fuzzing", "--include-path-regex=queues|clear_queue")
    assert done.returncode == 0, done.stdout + done.stderr
