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
            try:
                values, rest, given = self.make_parser(ctx).parse_args(list(args))
            except click.NoSuchOption as error:
                raise self._explained(ctx, error) from error
            self._refuse_repeated(ctx, given)
            self._refuse_swallowed(ctx, values)
            self._refuse_unnamed(ctx, values, rest)
        return super().parse_args(ctx, args)

    def _explained(self, ctx: click.Context, error: click.NoSuchOption) -> click.UsageError:
        """What was meant: ``--queue`` where the queue is an argument, ``--yes`` where a text confirms."""
        name = error.option_name.lstrip("-")
        arguments = {one.name for one in self.get_params(ctx) if isinstance(one, click.Argument)}
        options = {name for one in self.get_params(ctx) for name in one.opts}
        if name in arguments:
            return click.UsageError(
                self._said(f"Write: {ctx.command_path} {name.upper()}, without {error.option_name}."), ctx
            )
        if name in {"yes", "y", "force", "f"} and "--confirm" in options:
            return click.UsageError(
                self._said(f"No such option {error.option_name!r}. Did you mean --confirm YES?"), ctx
            )
        if name == "all" and (written := _all(ctx, self.get_params(ctx))):
            return click.UsageError(self._said(f"No such option '--all'. For all of them write {written}."), ctx)
        return error

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

    def _refuse_unnamed(self, ctx: click.Context, values: dict[str, object], rest: list[str]) -> None:
        """``pause-processing emails``: what all commands about one queue take, some take by an option."""
        takes = any(isinstance(one, click.Argument) for one in self.get_params(ctx))
        if rest and not takes and "queue" in {one.name for one in self.get_params(ctx)} and not values.get("queue"):
            text = f"For one queue write --queue {rest[0]}."
            raise click.UsageError(self._said(text), ctx)

    def _said(self, text: str) -> str:
        return f"{text} {UNCHANGED}" if self.changes else text


def _all(ctx: click.Context, params: list[click.Parameter]) -> str:
    """How a command is given everything: by the word for any number of workers, or by a name that matches any."""
    several = [one.name for one in params if isinstance(one, click.Argument) and one.nargs == -1]
    if "hostname" in several:
        return f"{ctx.command_path} all"
    if several and any("--task" in one.opts for one in params):
        return f"{ctx.command_path} --task '*'"
    return ""


class Command(_Strict):
    """A command."""


class Group(_Strict, click.Group):
    """A group of such commands."""

    command_class = Command
