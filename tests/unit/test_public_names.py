from __future__ import annotations

import inspect
import subprocess
import sys
from types import ModuleType

import pytest

import opsdash
from opsdash import model, state


@pytest.mark.parametrize("name", opsdash.__all__)
def test_every_public_name_exists(name: str):
    assert getattr(opsdash, name)


@pytest.mark.parametrize("module", [model, state])
def test_the_models_that_others_test_with_are_public_and_say_what_they_are(module: ModuleType) -> None:
    for name in module.__all__:
        value = getattr(module, name)
        assert value.__doc__ or isinstance(value, str | int)
        assert not inspect.isclass(value) or not value.__doc__.startswith(f"{name}(")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Purge'"):
        opsdash.Purge  # noqa: B018


def test_importing_opsdash_loads_nothing_heavy():
    heavy = "{'panel', 'param', 'bokeh', 'pandas', 'sqlalchemy', 'redis', 'celery'}"
    code = f"import sys, opsdash; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
