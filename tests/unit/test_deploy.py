"""What ``apps/deploy`` ships and can't be run here: parsed, and held against the routes, settings and commands."""

from __future__ import annotations

import configparser
import dataclasses
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from opsdash import __version__
from opsdash.cli import cli
from opsdash.config.settings import PREFIX, Settings
from opsdash.text import parse_duration
from opsdash.worker import local_client

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "apps" / "deploy"
KNOWN = {PREFIX + field.name.upper() for field in dataclasses.fields(Settings)}
PROBES = {"livenessProbe": "/healthz", "startupProbe": "/healthz", "readinessProbe": "/readyz"}
SIGN_IN_HEADERS = ("X-Auth-Request-User", "X-Auth-Request-Groups")


def accepted(arguments: list[str]) -> dict[str, Any]:
    """What the command line makes of these words; fails for what it does not know, and runs nothing."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        name, *arguments = arguments
        found = command.get_command(context, name)
        assert found, f"there is no command {name}"
        command = found
    return command.make_context(command.name, arguments, parent=context).params


def serves_under_the_prefix(arguments: list[str]) -> bool:
    params = accepted(arguments)
    return params["prefix"] == "/ops" and "*" not in params["origins"]


def taken(variables: dict[str, str]) -> Settings:
    """The settings they make; fails for a name that is none, and for a value that opsdash refuses."""
    assert set(variables) <= KNOWN
    return Settings.from_env(variables)


def manifests() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for document in yaml.safe_load_all((DEPLOY / "kubernetes" / "opsdash.yaml").read_text()):
        assert document["apiVersion"]
        assert document["metadata"]["name"]
        found.setdefault(document["kind"], []).append(document)
    return found


def pods() -> Iterator[dict[str, Any]]:
    for kind in ("Job", "Deployment"):
        for document in manifests()[kind]:
            yield document["spec"]["template"]["spec"]


def unit(name: str) -> configparser.ConfigParser:
    """A systemd unit; a key may stand more than once there, so only the last counts here."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str
    parser.read(DEPLOY / "systemd" / name)
    return parser


# Kubernetes


def test_probes_name_routes_that_exist_and_an_outage_of_redis_restarts_nothing() -> None:
    (deployment,) = manifests()["Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    prefix = accepted(container["args"])["prefix"]
    assert {probe: container[probe]["httpGet"]["path"] for probe in PROBES} == {
        probe: f"{prefix}{path}" for probe, path in PROBES.items()
    }
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": accepted(container["args"])["port"]}
    assert {container[probe]["httpGet"]["port"] for probe in PROBES} == {"http"}


def test_the_manifests_settings_are_real_and_opsdash_takes_their_values() -> None:
    found = manifests()
    settings = taken({**found["ConfigMap"][0]["data"], **found["Secret"][0]["stringData"]})
    assert settings.auth == "header"
    assert "0.0.0.0/0" not in settings.trusted_proxies


def test_the_manifests_commands_are_those_of_opsdash() -> None:
    migrate, serve = (pod["containers"][0]["args"] for pod in pods())
    assert accepted(migrate) == {}
    assert serves_under_the_prefix(serve)
    assert accepted(serve)["address"] == "0.0.0.0"


def test_selectors_ports_and_names_of_the_manifests_fit_together() -> None:
    found = manifests()
    labels = found["Deployment"][0]["spec"]["template"]["metadata"]["labels"]
    chosen = [
        found["Deployment"][0]["spec"]["selector"]["matchLabels"],
        found["Service"][0]["spec"]["selector"],
        found["NetworkPolicy"][0]["spec"]["podSelector"]["matchLabels"],
        found["PodDisruptionBudget"][0]["spec"]["selector"]["matchLabels"],
    ]
    assert all(one == labels for one in chosen)
    job = found["Job"][0]["spec"]["template"].get("metadata", {}).get("labels", {})
    assert job != labels, "the migration must not be sent requests"
    assert found["Service"][0]["spec"]["ports"][0]["targetPort"] == "http"
    (path,) = found["Ingress"][0]["spec"]["rules"][0]["http"]["paths"]
    assert path["backend"]["service"] == {"name": found["Service"][0]["metadata"]["name"], "port": {"name": "http"}}
    kept = {
        ("configMapRef", found["ConfigMap"][0]["metadata"]["name"]),
        ("secretRef", found["Secret"][0]["metadata"]["name"]),
    }
    for pod in pods():
        given = {(kind, ref["name"]) for source in pod["containers"][0]["envFrom"] for kind, ref in source.items()}
        assert given == kept
        mounts = {mount["name"] for mount in pod["containers"][0].get("volumeMounts", [])}
        assert mounts <= {volume["name"] for volume in pod.get("volumes", [])}


def test_the_image_that_the_manifests_name_is_of_this_version() -> None:
    assert {pod["containers"][0]["image"].rpartition(":")[2] for pod in pods()} == {__version__}


def test_the_ingress_replaces_a_clients_headers_and_keeps_a_page_at_one_console() -> None:
    annotations = manifests()["Ingress"][0]["metadata"]["annotations"]
    given = {name.rpartition("/")[2]: value for name, value in annotations.items()}
    assert set(given["auth-response-headers"].split(",")) == set(SIGN_IN_HEADERS)
    assert given["auth-url"].endswith("/oauth2/auth")
    assert (given["affinity"], given["session-cookie-change-on-failure"]) == ("cookie", "true")
    assert all(isinstance(value, str) for value in annotations.values())  # a number is refused by the cluster


def worker_pod() -> dict[str, Any]:
    (document,) = yaml.safe_load_all((DEPLOY / "kubernetes" / "worker.yaml").read_text())
    assert document["spec"]["selector"]["matchLabels"] == document["spec"]["template"]["metadata"]["labels"]
    return document["spec"]["template"]["spec"]


def test_a_workers_grace_period_holds_its_drain_and_a_warm_shutdown() -> None:
    pod = worker_pod()
    (container,) = pod["containers"]
    drain = container["lifecycle"]["preStop"]["exec"]["command"]
    assert drain[:4] == ["python", "-m", "opsdash.worker.drain", "--timeout"]
    assert pod["terminationGracePeriodSeconds"] >= parse_duration(drain[4]) + 30
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["exec"]["command"] == ["python", "-m", "opsdash.worker.alive"]
        assert container[probe]["timeoutSeconds"] > local_client.ANSWER_S + 1, "Python starts within it, too"
    assert "opsdash.worker.auto" in container["command"]


def test_a_workers_build_is_the_tag_of_its_image() -> None:
    (container,) = worker_pod()["containers"]
    assert {"name": "OPSDASH_BUILD", "value": container["image"].rpartition(":")[2]} in container["env"]


# Docker


def test_the_image_serves_what_its_port_and_its_health_check_say() -> None:
    final = dict(re.findall(r"^([A-Z]+) (.+)$", (DEPLOY / "docker" / "Dockerfile").read_text(), flags=re.MULTILINE))
    assert final["USER"] not in {"0", "root"}
    assert json.loads(final["ENTRYPOINT"]) == ["opsdash"]
    assert serves_under_the_prefix(json.loads(final["CMD"]))
    assert str(accepted(json.loads(final["CMD"]))["port"]) == final["EXPOSE"]


def test_the_compose_files_settings_and_commands_are_those_of_opsdash() -> None:
    services = yaml.safe_load((DEPLOY / "docker" / "compose.yml").read_text())["services"]
    given = services["console"]["environment"]
    filled = {name: re.sub(r"\$\{\w+[^}]*\}", "maria-and-a-long-text", text) for name, text in given.items()}
    assert taken(filled).auth == "basic"
    assert services["migrate"]["environment"] == services["console"]["environment"]
    assert accepted(services["migrate"]["command"]) == {}
    assert serves_under_the_prefix(services["console"]["command"])
    assert "noeviction" in services["broker"]["command"]


# systemd


def test_the_console_unit_runs_what_opsdash_serve_takes_and_listens_to_the_proxy_alone() -> None:
    program, *arguments = shlex.split(unit("opsdash@.service")["Service"]["ExecStart"].replace("%i", "5006"))
    assert program.endswith("/bin/opsdash")
    assert serves_under_the_prefix(arguments)
    assert (accepted(arguments)["port"], accepted(arguments)["address"]) == (5006, "127.0.0.1")


def test_the_worker_unit_loads_the_plug_in() -> None:
    words = shlex.split(unit("celery-worker.service")["Service"]["ExecStart"])
    assert words[words.index("-I") + 1] == "opsdash.worker.auto"
    assert (ROOT / "opsdash" / "worker" / "auto.py").exists()
    assert unit("celery-worker.service")["Service"]["KillMode"] == "mixed"


def test_the_units_settings_are_real_and_opsdash_takes_their_values() -> None:
    lines = (DEPLOY / "systemd" / "console.env.example").read_text().splitlines()
    assert taken(dict(line.split("=", 1) for line in lines if not line.startswith("#"))).auth == "header"


# Proxies


def test_caddy_takes_away_what_a_client_claims_and_reads_what_was_signed_in() -> None:
    text = re.sub(r"#.*", "", (DEPLOY / "caddy" / "Caddyfile").read_text())
    for name in SIGN_IN_HEADERS:
        assert f"request_header -{name}\n" in text
        assert re.search(rf"copy_headers .*{name}", text)
    assert not re.search(r"header_up\s+[-+]?(Origin|Host)\b", text, flags=re.IGNORECASE)


def test_nginx_sets_the_sign_in_headers_for_every_route_and_never_rewrites_origin() -> None:
    text = re.sub(r"#.*", "", (DEPLOY / "nginx" / "opsdash.conf").read_text())
    server = text.partition("server {\n    listen")[2]
    before = server.partition("location")[0]
    for name in SIGN_IN_HEADERS:
        assert re.search(rf"proxy_set_header {name}\s+\$opsdash_\w+;", before)
    assert not re.search(r"proxy_set_header\s+Origin", text, flags=re.IGNORECASE)
    for location in re.findall(r"location [^{]*\{[^}]*\}", server):
        # One such line in a location makes nginx forget those of the server.
        assert "proxy_set_header" not in location or "proxy_pass http://127.0.0.1:4180" in location, location
        assert "proxy_cache " not in location or location.startswith("location /ops/static/"), location


def test_oauth2_proxy_gives_the_names_that_the_proxies_read() -> None:
    config = tomllib.loads((DEPLOY / "oauth2-proxy" / "oauth2-proxy.cfg").read_text())
    assert config["set_xauthrequest"]
    assert config["reverse_proxy"]
    assert config["cookie_secure"]
    assert config["email_domains"] != ["*"]
    assert "cookie_secret" not in config
    assert "client_secret" not in config
    for path in ("nginx/opsdash.conf", "caddy/Caddyfile"):
        assert config["http_address"] in (DEPLOY / path).read_text()
