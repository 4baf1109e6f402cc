"""What is shown of an address: enough to tell two apart, and never what may be a secret."""

from __future__ import annotations

import pytest

from opsdash.services.notify.targets import label, scrubbed


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("webhook+https://hook.example:8443/planted", "webhook+https://hook.example:8443"),
        ("webhook+https://hook.example/planted", "webhook+https://hook.example"),
        ("mailtos://maria:planted@mail.example:587?from=a@b.example", "mailtos://mail.example:587"),
        ("json://[2001:db8::7]:8080/planted", "json://[2001:db8::7]:8080"),
        ("json://hook.example:planted/x", "json://hook.example"),
        ("mailtos://maria:12345/planted@mail.example", "mailtos://maria"),
        ("mailtos://maria:12345#planted@mail.example", "mailtos://maria"),
        ("mailtos://maria:12345?planted@mail.example", "mailtos://maria"),
        ("json://[planted", "json://"),
        ("slack://planted:443/planted", "slack://"),
    ],
)
def test_an_address_is_named_by_its_scheme_host_and_port_alone(address: str, shown: str) -> None:
    assert label(address) == shown


def test_a_reason_keeps_the_host_and_the_port_and_nothing_else_of_the_address() -> None:
    address = "webhook+https://maria:planted@hook.example:8443/also-planted"
    said = "maria:planted at hook.example:8443: HTTPSConnection(host='hook.example', port=8443): /also-planted"
    shown = scrubbed(said, address)
    assert "planted" not in shown
    assert "hook.example:8443: " in shown
    assert "host='hook.example', port=8443" in shown
