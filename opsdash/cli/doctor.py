"""``doctor``: what is wrong, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from opsdash.cli.output import print_line
from opsdash.cli.plain import json_option, print_json
from opsdash.cli.reads import connected
from opsdash.cli.strict import Command
from opsdash.errors import Invalid, Unavailable
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.doctor import Finding


@click.command(cls=Command)
@json_option
@click.option("--full", is_flag=True, help="Check the whole hash chain of the audit log, not only the newest entries.")
def doctor(*, as_json: bool, full: bool) -> None:
    """Check every connection and setting, and say what to do.

    Exit code 0: all is well, or there are warnings only; 4: Redis or the database does not answer; 2: another error.
    """
    from opsdash.services.doctor import Level, diagnose  # Alembic and SQLAlchemy: --help does without

    with connected() as console:
        found: list[Finding] = []
        for finding in diagnose(console, full=full):
            found.append(finding)
            if not as_json:
                print_line(f"{finding.level.value}", f"{finding.check}:", finding.message)
                if finding.todo:
                    print_line(f"   → {finding.todo}")
    errors = [finding for finding in found if finding.level is Level.ERROR]
    warnings = sum(finding.level is Level.WARNING for finding in found)
    if as_json:
        worst = Level.ERROR if errors else Level.WARNING if warnings else Level.OK
        print_json({"worst": worst, "findings": found})
    else:
        print_line(f"{len(found)} checked: {count(len(errors), 'error')}, {count(warnings, 'warning')}.")
    if errors:
        unreachable = any(finding.unreachable for finding in errors)
        click.get_current_context().exit(Unavailable.exit_code if unreachable else Invalid.exit_code)
