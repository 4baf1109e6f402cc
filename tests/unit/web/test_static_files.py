"""Static files are compressed once, within bounds, for clients that take it."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
from pathlib import Path

import pytest

from opsdash.web import static_files
from opsdash.web.static_files import StaticFile, StaticFiles, takes_gzip


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        ("gzip, deflate, br", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("*", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("*;q=0", False),
        ("br, deflate", False),
        ("gzip;q=0.2, identity;q=0.9", False),
        ("gzip;q=lots", False),
        ("gzip;q=nan", False),
        (",;,=;q", False),
    ],
)
def test_a_client_gets_gzip_only_where_it_takes_it(accepted: str, taken: bool) -> None:
    assert takes_gzip(accepted) is taken


def file(files: StaticFiles, path: Path) -> StaticFile | None:
    return asyncio.run(files.file(str(path)))


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def compressions(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Contents that were compressed since, without those of a server that another test has started."""
    made: list[bytes] = []
    compress = gzip.compress

    def counted(content: bytes, *args: object, **kwargs: object) -> bytes:
        if content.startswith(b"let "):
            made.append(content)
        return compress(content, *args, **kwargs)

    monkeypatch.setattr(static_files.gzip, "compress", counted)
    return made


def test_a_file_is_compressed_once_and_again_when_it_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, made = StaticFiles(), compressions(monkeypatch)
    script = write(tmp_path / "page.js", "let a = 1\n" * 1_000)
    first = file(files, script)
    assert file(files, script) is first
    assert gzip.decompress(first.packed).decode() == script.read_text()
    assert first.hashes[1] == hashlib.sha256(script.read_bytes()).hexdigest()
    write(script, "let b = 2\n" * 1_000)
    os.utime(script, ns=(1, 1))
    assert gzip.decompress(file(files, script).packed).decode() == script.read_text()
    assert len(made) == 2


def test_many_who_ask_at_once_have_it_compressed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, made = StaticFiles(), compressions(monkeypatch)
    script = str(write(tmp_path / "page.js", "let a = 1\n" * 100_000))

    async def ask() -> list[StaticFile | None]:
        return await asyncio.gather(*(files.file(script) for _ in range(20)))

    assert len(set(map(id, asyncio.run(ask())))) == 1
    assert len(made) == 1


def test_what_is_kept_has_a_bound_and_the_file_asked_for_longest_ago_goes_first(tmp_path: Path) -> None:
    def noise(number: int) -> Path:
        path = tmp_path / f"{number}.js"
        path.write_text(os.urandom(4_000).hex())
        return path

    scripts = [noise(number) for number in range(4)]
    one = len(file(StaticFiles(), scripts[0]).packed)
    files = StaticFiles(most_bytes=3 * one + one // 2)
    kept = [file(files, script) for script in scripts[:3]]
    assert file(files, scripts[0]) is kept[0]
    file(files, scripts[3])
    assert file(files, scripts[0]) is kept[0]
    assert file(files, scripts[1]) is not kept[1]


def test_what_gains_nothing_is_sent_as_it_is(tmp_path: Path) -> None:
    files = StaticFiles()
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"0" * 10_000)
    assert file(files, picture).packed is None
    assert file(files, write(tmp_path / "small.js", "1")).packed is None
    assert file(files, tmp_path / "gone.js") is None


def test_a_file_that_is_too_large_is_not_read_into_memory(tmp_path: Path) -> None:
    large = tmp_path / "large.js"
    with large.open("wb") as opened:
        opened.truncate(static_files.LARGEST_BYTES + 1)
    assert file(StaticFiles(), large) is None


def test_an_address_names_a_version_by_a_hash_its_start_or_a_release() -> None:
    made = StaticFile(("a1b2c3d4e5f6", "0123456789ab"), None)
    releases = static_files.JS_VERSION, hashlib.sha256(static_files.JS_VERSION.encode()).hexdigest()
    for version in ("a1b2c3d4e5f6", "a1b2c3d4", "01234567", *releases):
        assert made.has_version(version)
    for version in ("", "a1b2", "a1b2c3d5", "0.1.0", "abc"):
        assert not made.has_version(version)
