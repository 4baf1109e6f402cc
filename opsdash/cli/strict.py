"""Commands that refuse what click reads in silence: an option given twice, or taken as another's text."""

from __future__ import annotations

from collections import Counter

import click

UNCHANGED = "Nothing was changed."


class _Strict(click.Command):
    """Looks at what was typed before click uses it.

    Attributes:
        changes: The command is to change something: what is refused here says that nothing was changed.
    """

    changes = False

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses, after a look at which option was given how often and what its value is."""
        if not ctx.resilient_parsing:
            values, _, given = self.make_parser(ctx).parse_args(list(args))
            self._refuse_repeated(ctx, given)
            self._refuse_swallowed(ctx, values)
        return super().parse_args(ctx, args)

    def _refuse_repeated(self, ctx: click.Context, given: list[click.Parameter]) -> None:
        """Of two values click would keep the last, and nobody would learn of the first."""
        for option, times in Counter(given).items():
            if times > 1 and isinstance(option, click.Option) and not (option.multiple or option.is_flag):
                text = f"{option.opts[0]} was given {'twice' if times == 2 else f'{times} times'}"
                raise click.UsageError(self._said(f"{text}: run the command for each."), ctx)

    def _refuse_swallowed(self, ctx: click.Context, values: dict[str, object]) -> None:
        """``--reason --dry-run``: click would take the second as the reason, and act."""
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        names = {name for one in options for name in (*one.opts, *one.secondary_opts)} | {*ctx.help_option_names}
        for option in options:
            value = values.get(option.name or "")
            for typed in value if isinstance(value, list | tuple) else (value,):
                if isinstance(typed, str) and typed.partition("=")[0] in names:
                    text = f"{option.opts[0]} needs a text after it: {typed.partition('=')[0]} is an option."
                    raise click.UsageError(self._said(text), ctx)

    def _said(self, text: str) -> str:
        return f"{text} {UNCHANGED}" if self.changes else text


class Command(_Strict):
    """A command."""


class Group(_Strict, click.Group):
    """A group of such commands."""

    command_class = Command
