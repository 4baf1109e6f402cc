from __future__ import annotations

import subprocess
import sys

import pytest

import opsdash


@pytest.mark.parametrize("name", opsdash.__all__)
def test_every_public_name_exists(name: str):
    assert getattr(opsdash, name)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Purge'"):
        opsdash.Purge  # noqa: B018


def test_importing_opsdash_loads_nothing_heavy():
    heavy = "{'panel', 'param', 'bokeh', 'pandas', 'sqlalchemy', 'redis', 'celery'}"
    code = f"import sys, opsdash; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
