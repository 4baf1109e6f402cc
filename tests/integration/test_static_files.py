"""What a browser loads and keeps, over a real connection: compressed, with the right headers, and nothing else is."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from support.pages import PageServer

from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.views.components import KeyedTable, StatusStrip
from opsdash.views.components.panel_private import addresses

YEAR = "public, max-age=31536000, immutable"
COLD_START_BYTES = 1_200_000
SCRIPT = "/static/js/bokeh-gl.min.js"


@dataclass(frozen=True)
class Got:
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """Asks as a browser's cache does; ``X_Name`` is the header ``X-Name``."""

    def __init__(self, server: PageServer) -> None:
        self._server = server

    def ask(self, path: str, method: str = "GET", **headers: str) -> Got:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=20)
        with contextlib.closing(connection):
            connection.putrequest(method, f"/ops{path}", skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            got = connection.getresponse()
            return Got(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read())

    def scripts(self) -> list[str]:
        """The addresses of the scripts on a page."""
        page = self.ask("/operations").body.decode()
        return [f"/{found.removeprefix('/')}" for found in re.findall(r'<script[^>]* src="([^"]+)"', page)]


@pytest.fixture(scope="module", params=["127.0.0.1", "0.0.0.0"])
def client(_sqlite_template: Path, request: pytest.FixtureRequest) -> Iterator[Client]:
    """Of a server for this machine, and of one for others."""
    auth = {"auth": "dev"} if request.param == "127.0.0.1" else {"auth": "header", "viewers": ("*",)}
    given = {"redis_url": "redis://127.0.0.1:1/0", "database_url": f"sqlite:///{_sqlite_template}", **auth}
    settings = Settings.from_env({}, **{"secret_key": "a-key-for-tests-and-nothing-else", **given})
    server = PageServer(assemble(settings), prefix="/ops", address=request.param)
    server._prefix = ""  # it is written out here
    yield Client(server)
    server.stop()
    server.console.close()


def test_a_cold_start_takes_less_than_the_limit(client: Client) -> None:
    scripts = client.scripts()
    assert len(scripts) >= 5
    answers = [client.ask(script, Accept_Encoding="gzip, deflate, br") for script in scripts]
    assert {answer.headers.get("content-encoding") for answer in answers} == {"gzip"}
    assert sum(len(answer.body) for answer in answers) < COLD_START_BYTES


def test_a_script_is_the_same_compressed_and_not(client: Client) -> None:
    for script in client.scripts():
        packed, plain = client.ask(script, Accept_Encoding="gzip"), client.ask(script)
        assert gzip.decompress(packed.body) == plain.body
        assert (packed.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
        for answer in (packed, plain):
            assert answer.headers["content-length"] == str(len(answer.body))
            assert answer.headers["vary"] == "Accept-Encoding"
            assert "javascript" in answer.headers["content-type"]
        assert packed.headers["etag"] != plain.headers["etag"]


@pytest.mark.parametrize("accepted", ["identity", "gzip;q=0", "*;q=0", "br", "identity;q=1, gzip;q=0.5"])
def test_whoever_takes_no_gzip_gets_none(client: Client, accepted: str) -> None:
    assert "content-encoding" not in client.ask(SCRIPT, Accept_Encoding=accepted).headers


def test_an_address_with_the_version_of_its_content_is_kept_for_a_year(client: Client) -> None:
    versioned = [script for script in client.scripts() if "?v=" in script]
    assert len(versioned) >= 5
    for script in versioned:
        assert client.ask(script, Accept_Encoding="gzip").headers["cache-control"] == YEAR
        assert "expires" not in client.ask(script).headers
        # A page of another release asks this one for its script: the answer must not stay at that address.
        other = f"{script.partition('?')[0]}?v=0f0f0f0f0f0f0f0f"
        assert client.ask(other, Accept_Encoding="gzip").headers["cache-control"] == "no-cache"
    assert client.ask(SCRIPT).headers["cache-control"] == "no-cache"


def test_a_copy_that_is_still_good_is_not_sent_again(client: Client) -> None:
    for headers in ({"Accept_Encoding": "gzip"}, {}):
        first = client.ask(SCRIPT, **headers)
        again = client.ask(SCRIPT, If_None_Match=first.headers["etag"], **headers)
        assert (again.status, again.body) == (304, b"")
        assert (again.headers["etag"], again.headers["vary"]) == (first.headers["etag"], "Accept-Encoding")
        assert "content-encoding" not in again.headers
        since = client.ask(SCRIPT, If_Modified_Since=first.headers["last-modified"], **headers)
        assert (since.status, since.body) == (304, b"")
    other_form = client.ask(SCRIPT, If_None_Match=client.ask(SCRIPT).headers["etag"], Accept_Encoding="gzip")
    assert other_form.status == 200


def test_a_head_says_what_a_get_would_send(client: Client) -> None:
    for headers in ({"Accept_Encoding": "gzip"}, {}):
        whole, head = client.ask(SCRIPT, **headers), client.ask(SCRIPT, "HEAD", **headers)
        assert (head.status, head.body) == (200, b"")
        for name in ("content-length", "content-type", "etag", "cache-control", "vary"):
            assert head.headers[name] == whole.headers[name]
        assert head.headers.get("content-encoding") == whole.headers.get("content-encoding")


def test_a_part_is_a_part_of_the_file_as_it_is(client: Client) -> None:
    plain = client.ask(SCRIPT)
    part = client.ask(SCRIPT, Range="bytes=10-19", Accept_Encoding="gzip")
    assert (part.status, part.body) == (206, plain.body[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{len(plain.body)}"
    assert (part.headers["etag"], "content-encoding" in part.headers) == (plain.headers["etag"], False)
    other = client.ask(SCRIPT, Range="bytes=10-19", If_Range='"another"')
    assert (other.status, other.body) == (200, plain.body)
    assert client.ask(SCRIPT, Range=f"bytes={len(plain.body) + 1}-", Accept_Encoding="gzip").status == 416


@pytest.mark.parametrize(
    "path",
    [
        "/static/js/none.js",
        "/static/js",
        "/static/",
        "/static/extensions/panel",
        "/static/extensions/none/x.js",
        "/static/%2e%2e/server.py",
        "/static/extensions/panel/%2e%2e/config.py",
        "/components/opsdash.views.components.card/Card/_bundle_path/x.js",
    ],
)
def test_what_is_no_static_file_is_refused(client: Client, path: str) -> None:
    answer = client.ask(path, Accept_Encoding="gzip")
    assert answer.status in {400, 403, 404}
    assert "content-encoding" not in answer.headers
    assert "immutable" not in answer.headers.get("cache-control", "")


@pytest.mark.parametrize("path", ["/operations", "/api/v1/status", "/healthz", "/api/openapi.json", "/metrics"])
def test_pages_and_answers_of_the_api_are_never_compressed(client: Client, path: str) -> None:
    # They hold tokens and what depends on the user: their compressed length would tell of it (BREACH).
    answer = client.ask(path, Accept_Encoding="gzip, br")
    assert "content-encoding" not in answer.headers
    assert "immutable" not in answer.headers.get("cache-control", "")


def test_the_scripts_and_styles_of_components_are_kept_by_the_version_in_their_addresses(client: Client) -> None:
    for _, address in addresses(StatusStrip, KeyedTable):
        path = f"/{address.removeprefix('./')}"
        answer = client.ask(path, Accept_Encoding="gzip")
        assert (answer.status, answer.headers["cache-control"]) == (200, YEAR)
        older = client.ask(re.sub(r"v=\w+", "v=0123456789ab", path), Accept_Encoding="gzip")
        assert older.headers["cache-control"] == "no-cache", "another release's page asked"


def test_the_files_of_a_component_are_compressed_too(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = ModuleType("opsdash.sample")
    sample.__file__ = str(tmp_path / "sample.py")
    sample.Card = type("Card", (), {"_bundle_css": ["card.css"], "__module__": "opsdash.sample"})
    (tmp_path / "card.css").write_text(".card { color: red }\n" * 200)
    monkeypatch.setitem(sys.modules, "opsdash.sample", sample)
    answer = client.ask("/components/opsdash.sample/Card/_bundle_css/card.css", Accept_Encoding="gzip")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/css")
    assert gzip.decompress(answer.body) == (tmp_path / "card.css").read_bytes()


def test_the_page_names_no_script_that_is_not_there(client: Client) -> None:
    assert {client.ask(script, "HEAD").status for script in client.scripts()} == {200}
