"""Servers that speak TLS alone, with a test authority's certificates, and clients' certificates from the same one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from support.services import Missing, Valkey


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Files of an authority, a server on this machine, and a client."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    @property
    def as_client(self) -> dict[str, str]:
        """As redis-py, kombu and ``broker_use_ssl`` take them, with a client's own certificate."""
        named = {"ssl_ca_certs": self.authority, "ssl_certfile": self.client, "ssl_keyfile": self.client_key}
        return {"ssl_cert_reqs": "required", **{name: str(path) for name, path in named.items()}}

    @property
    def query(self) -> str:
        """The same as it follows the ``?`` of an address, the requirement in Celery's word."""
        options = {**self.as_client, "ssl_cert_reqs": "CERT_REQUIRED"}
        return "&".join(f"{name}={value}" for name, value in options.items())


def certificates(home: Path) -> Certificates:
    """Makes them, in about 0.1 s."""
    openssl = shutil.which("openssl")
    if not openssl:
        raise Missing("openssl")

    def run(*arguments: object) -> None:
        done = subprocess.run([openssl, *map(str, arguments)], capture_output=True, text=True, cwd=home, check=False)
        if done.returncode:
            raise Missing(f"an openssl that makes certificates: {done.stderr[-500:]}")

    def key(name: str) -> Path:
        run("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
        return home / f"{name}.key"

    authority = key("ca")
    run("req", "-x509", "-new", "-key", authority, "-days", 1, "-subj", "/CN=opsdash test CA", "-out", "ca.crt")
    (home / "san.cnf").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for name in ("server", "client"):
        run("req", "-new", "-key", key(name), "-subj", f"/CN={name}", "-out", f"{name}.csr")
        signing = ["-CA", "ca.crt", "-CAkey", authority, "-CAcreateserial", "-days", 1, "-extfile", "san.cnf"]
        run("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.crt", *signing)
    return Certificates(
        authority=home / "ca.crt",
        server=home / "server.crt",
        server_key=home / "server.key",
        client=home / "client.crt",
        client_key=home / "client.key",
    )


def tls_program() -> str:
    """A server that is built with TLS; the wheel's is not."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if not found:
        raise Missing("a redis-server or valkey-server on PATH")
    return found


def options(of: Certificates, port: int, *, clients: bool = True) -> dict[str, object]:
    """A server's configuration: TLS on its port and towards others, and nothing else.

    Args:
        clients: They have to show a certificate, too.
    """
    return {
        "port": 0,
        "tls-port": port,
        "tls-cert-file": of.server,
        "tls-key-file": of.server_key,
        "tls-ca-cert-file": of.authority,
        "tls-auth-clients": "yes" if clients else "no",
        "tls-replication": "yes",
    }


class TlsServer(Valkey):
    """A server that speaks TLS alone.

    Attributes:
        certificates: Its own, its authority's, and a client's.
    """

    def __init__(self, home: Path, made: Certificates, *, clients: bool = False, password: str = "") -> None:
        super().__init__(home)
        self.program = tls_program()
        self.certificates, self._clients, self._password = made, clients, password
        user = f":{password}@" if password else ""
        self.url = f"rediss://{user}127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        given: Mapping[str, object] = options(self.certificates, self.port, clients=self._clients)
        words = [str(part) for name, value in given.items() for part in (f"--{name}", value)]
        if self._password:
            words += ["--requirepass", self._password, "--masterauth", self._password]
        return [*super()._command(), *words]

    def client(self, **more: Any) -> redis.Redis:
        """One that it trusts."""
        options: Any = {"ssl": True, "password": self._password or None, **self.certificates.as_client, **more}
        return redis.Redis(port=self.port, socket_timeout=2, socket_connect_timeout=2, **options)

    def _answers(self) -> bool:
        with self.client(retry=None) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False
