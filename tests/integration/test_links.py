"""Links that leave the documentation: their form always, and whether they lead anywhere when the network answers."""

from __future__ import annotations

import re
import socket
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import services

ROOT = Path(__file__).parents[2]
PAGES = [*(ROOT / "docs").glob("*.md"), *(ROOT / "apps").rglob("*.md"), *ROOT.glob("*.md")]
LINKS = sorted({link for page in PAGES for link in re.findall(r"\]\((\w+:[^)]*)\)", page.read_text())})


def test_links_to_other_sites_are_well_formed_encrypted_and_lead_to_real_hosts() -> None:
    assert LINKS
    for link in LINKS:
        parts = urlsplit(link)
        assert parts.scheme == "https", link
        assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc), link
        assert not parts.netloc.endswith((".example", "example.com", ".local", ".internal")), link
        assert link.isascii(), link
        assert not re.search(r"[\s<>\"]|[.,;]$", link), link


def network() -> None:
    """Fails where no site can be reached at all."""
    for host in {urlsplit(link).netloc for link in LINKS}:
        try:
            socket.create_connection((host, 443), timeout=5).close()
        except OSError:
            continue
        return
    raise services.Missing("none of the sites that the docs link to can be reached from here")


@pytest.mark.slow
@pytest.mark.parametrize("link", LINKS)
def test_a_link_to_another_site_leads_somewhere(link: str) -> None:
    services.provide("network", network)
    request = urllib.request.Request(link, headers={"User-Agent": "opsdash-docs-check"})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            assert answer.status == 200
    except urllib.error.HTTPError as error:
        pytest.fail(f"{link}: {error.code}", pytrace=False)
