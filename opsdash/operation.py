"""An operation is declared once; page, command line, audit log and Python derive the rest from the declaration."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, dataclass_transform

from opsdash.errors import Invalid, OpsdashError
from opsdash.model import Act as Act
from opsdash.model import AuditEntry, DeclaredOperation, Effect, Preview, Progress, Role, Snapshot, to_plain, untrusted
from opsdash.model.key_layout import DECIDES
from opsdash.redaction import HIDDEN, masked
from opsdash.text import LONGEST_DURATION_S, parse_duration, shell_word, typed_duration

if TYPE_CHECKING:
    from opsdash.services.services import Services

CONFIRMATION = "YES"
"""What an operator types to confirm: exactly this, no blanks, no other case."""

MAX_TEXT = 1_000
"""Characters of one text parameter, unless it is declared otherwise."""

RESERVED = frozenset({"confirm", "phrase", "dry_run", "as_json", "json", "wait", "timeout", "request_id"})
"""Names that every surface has for itself: no parameter takes them."""

_registry: dict[str, type[Operation]] = {}
_finders: list[Callable[[str | None], None]] = []
"""What declares an operation that is not declared yet: ``find_by``."""


def argument(
    *,
    help: str,
    default: Any = dataclasses.MISSING,
    option: str | None = None,
    positional: bool = False,
    parse: Callable[[str], Any] = str,
    label: str = "",
    placeholder: str = "",
    suggestions: Mapping[str, str] = MappingProxyType({}),
    several: bool = False,
    longest: int = MAX_TEXT,
) -> Any:
    """Declares one parameter of an operation.

    Args:
        help: One sentence for the command line and the form.
        default: What Python and the page take when nothing is said.
        positional: Required and without a dash on the command line: what is destroyed is named there, never a default.
        option: The command line's spelling where it differs from the field's name, e.g. ``--for``.
        parse: Turns typed text into the value; raises ValueError with a sentence for the operator. It takes what
            ``str`` makes of a value: commands to paste are written so.
        label: What the dialog calls its field; without one the dialog doesn't ask for it. A yes-or-no argument is asked
            only when the preview names it among its ``choices``.
        placeholder: Text in the empty field.
        suggestions: What the dialog's buttons below the field say, and the text that each fills in.
        several: A positional text of any number of words, none too; on the command line each is given for itself.
        longest: Characters of a text at most.
    """
    return dataclasses.field(
        default=default,
        metadata={
            "help": help,
            "option": option,
            "positional": positional,
            "parse": parse,
            "label": label,
            "placeholder": placeholder,
            "suggestions": suggestions,
            "several": several,
            "longest": longest,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """What is known of an act of a run that is to be taken back.

    Attributes:
        user: Who did it, and ``since``: when it was begun.
        before: What ``Operation.before`` gave then.
        effect: The details of its effect; empty where nobody saw its end.
    """

    user: str
    since: datetime
    before: Mapping[str, Any]
    effect: Mapping[str, Any]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(argument,))
@dataclass(frozen=True, kw_only=True)
class Operation:
    """Base of every operation. A subclass is a frozen, keyword-only record of its parameters.

    Attributes:
        reason: Every operation takes one; the audit log stores it with the other parameters.

    Class attributes:
        name: With underscores: the audit log's and the API's name; with hyphens: the command.
        title: As the button and the dialog say it.
        help: One sentence: what it does.
        warning: One sentence: what it does to a running system.
        minimum_role: Who may run it.
        danger: It removes data or ends running tasks: its dialog shows this.
        settles: Its effect continues after the operation; ``progress`` reports how far it is.
        approvable: ``OPSDASH_APPROVAL`` may require a second person for it.
        turn_on: One line, where not everybody uses what it is about: how that is turned on. Lists have it last, with
            that line; where it is not ``is_used`` metrics have no series of it, and its card may show the line alone.
            It can still be run.
        layout: Facts of the broker's layout that it writes by: it is refused while app, settings and workers disagree
            on one of them. Empty: it writes nothing into Redis by them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    help: ClassVar[str]
    warning: ClassVar[str]
    minimum_role: ClassVar[Role] = Role.OPERATOR
    danger: ClassVar[bool] = False
    settles: ClassVar[bool] = False
    approvable: ClassVar[bool] = True
    turn_on: ClassVar[str] = ""
    layout: ClassVar[tuple[str, ...]] = tuple(DECIDES)

    reason: str = argument(
        default="",
        help="The reason; the audit log keeps it, and all users of opsdash can read it.",
        label="Reason",
        placeholder="Optional; all users of opsdash can read it",
    )

    def __init_subclass__(cls) -> None:
        """Checks the declaration when the class is made, and registers it."""
        for attribute in ("name", "title", "help", "warning"):
            if not isinstance(getattr(cls, attribute, None), str):
                raise TypeError(f"{cls.__name__} declares no {attribute}")
        if not cls.name.replace("_", "").isalnum() or not cls.name.islower():
            raise TypeError(f"{cls.__name__}.name is {cls.name!r}; expected lower case letters and underscores")
        if not isinstance(cls.danger, bool):
            raise TypeError(f"{cls.__name__}.danger is {cls.danger!r}; expected True or False")
        if not isinstance(cls.minimum_role, Role):
            raise TypeError(f"{cls.__name__}.minimum_role is {cls.minimum_role!r}; expected a Role")
        if cls.name in _registry:
            raise TypeError(f"{cls.__name__} uses the name {cls.name!r} of {_registry[cls.name].__name__}")
        dataclass(frozen=True, kw_only=True)(cls)
        for field in dataclasses.fields(cls):
            if "help" not in field.metadata:
                raise TypeError(f"{cls.__name__}.{field.name} is not declared with argument()")
            if field.name in RESERVED:
                raise TypeError(f"{cls.__name__}.{field.name}: every operation has it; expected another name")
        _registry[cls.name] = cls

    def __post_init__(self) -> None:
        """Refuses another type than declared, and text that Redis, the database or a screen could not take.

        Raises:
            Invalid: Naming the parameter.
        """
        import msgspec  # here, because --help and completion declare every operation and make none

        kind: Any = type(self)
        longest = {field.name: field.metadata["longest"] for field in dataclasses.fields(kind)}
        durations = {field.name for field in dataclasses.fields(kind) if field.metadata["parse"] is parse_duration}
        for field, hint in _hints(kind).items():
            value = getattr(self, field)
            try:
                msgspec.convert(value, hint)
            except msgspec.ValidationError as error:
                text = str(error)
                raise Invalid(f"{text[:1].lower()}{text[1:]}.", field=field) from None
            if field in durations and value is not None and value > LONGEST_DURATION_S:
                raise Invalid(f"expected at most {LONGEST_DURATION_S:,} seconds, got {value:,}.", field=field)
            if not isinstance(value, str):
                continue
            if len(value) > longest[field]:
                raise Invalid(f"at most {longest[field]:,} characters, got {len(value):,}.", field=field)
            if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
                raise Invalid("contains bytes that are not text.", field=field)
        object.__setattr__(self, "reason", masked(self.reason))  # everybody who looks sees it, on every surface

    @classmethod
    def is_used(cls, snapshot: Snapshot) -> bool:  # noqa: ARG003 - for those that look
        """Whether there is anything for it, as far as that is known."""
        return True

    def heading(self) -> str:
        """What it does, with its target, e.g. ``Clear queue emails``: on its dialog, in the log."""
        return self.title

    def recorded_heading(self, details: Mapping[str, Any]) -> str:
        """As ``heading``, for an audit entry: its details may name the target better than an id does."""
        return self.heading()

    def preview(self, services: Services) -> Preview:
        """Reads what ``execute`` would do; changes nothing.

        Raises:
            Refused: The parameters name something that does not exist.
            Unavailable: Redis or the database does not answer.
        """
        raise NotImplementedError

    def suggest(self, services: Services) -> Mapping[str, tuple[str, ...]]:
        """Texts that a dialog offers for a field, by the parameter's name; none as a rule.

        Raises:
            Refused: The parameters name something that does not exist.
            Unavailable: Redis or the database does not answer.
        """
        return {}

    def phrase(self, services: Services) -> str:
        """The text that must now be typed beside ``YES``, exactly; empty: none.

        Raises:
            Unavailable: Redis or the database does not answer.
        """
        return ""

    def execute(self, services: Services, act: Act) -> Effect:
        """Does it. Called by ``Console.run`` alone, after role, confirmation and audit intent.

        Raises:
            Refused: Nothing was changed.
            Unavailable: Nothing was changed.
            Uncertain: Something may have been.
        """
        raise NotImplementedError

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """What this act has left behind, for an entry whose process died: ``message`` in a sentence, and figures."""
        return {}

    def still_possible(self, snapshot: Snapshot) -> bool:
        """Of an operation that undoes another: there is still what it would bring back. As long the log offers it."""
        return False

    def progress(self, snapshot: Snapshot) -> Progress:
        """How far the effect has come; asked of operations that ``settles``."""
        raise NotImplementedError

    def standing(self, services: Services) -> str:
        """What is so already, by someone else, and lasts as long: a run leaves it as it is, also at its end."""
        return ""

    def before(self, services: Services) -> Mapping[str, Any]:
        """What it will change, as it is now: a run keeps it for ``take_back``."""
        return {}

    def take_back(self, services: Services, done: TakenBack) -> Operation | str:
        """What takes back this act of a run, now; or why there is nothing to take back, in a sentence."""
        undo = done.effect.get("undo")
        found = recorded(undo.get("operation"), undo.get("params")) if isinstance(undo, Mapping) else None
        return "Nothing takes it back." if found is None else found

    def params(self) -> dict[str, Any]:
        """The parameters as plain values."""
        return {field.name: to_plain(getattr(self, field.name)) for field in parameters(self)}

    def logged_params(self) -> dict[str, Any]:
        """The parameters for the audit log and for who is asked to approve, less those that all may not read."""
        return self.params()


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def parameters(operation: Operation | type[Any]) -> tuple[dataclasses.Field[Any], ...]:
    """What an operation takes, in the order to ask for it: its own, and last the reason."""
    return tuple(sorted(dataclasses.fields(operation), key=lambda field: field.name == "reason"))


class _Registry(Mapping[str, type[Operation]]):
    """As ``registry`` says."""

    def __getitem__(self, name: str) -> type[Operation]:
        if name not in _registry:
            _find(name)
        return _registry[name]

    def __iter__(self) -> Iterator[str]:
        _find(None)
        return iter(tuple(_registry))

    def __len__(self) -> int:
        _find(None)
        return len(_registry)


def find_by(find: Callable[[str | None], None]) -> None:
    """Says how an operation that is not declared yet is found: by its name, or with None all of them."""
    _finders[:] = [find]


def _find(name: str | None) -> None:
    for find in _finders:
        find(name)


def declared() -> set[str]:
    """The names of those that are declared so far."""
    return set(_registry)


def retain(names: Sequence[str]) -> None:
    """Keeps these, in this order: all else is what a package has declared that turned out to be broken."""
    global _registry
    _registry = {name: _registry[name] for name in names}


def registry() -> Mapping[str, type[Operation]]:
    """Every operation by name, known to `opsdash.bootstrap`; imported when asked for, all when they are listed."""
    return _Registry()


def recorded(name: object, params: object) -> Operation | None:
    """The operation that was written down so; None where this opsdash does not have it, or not with such parameters."""
    kind = registry().get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(params, Mapping) or HIDDEN in repr(params):
        return None
    try:
        return kind(**params)
    except (OpsdashError, TypeError):  # of another version, or by another hand
        return None


def heading_of(entry: AuditEntry) -> str:
    """What was done, with its target; only its name where its parameters don't tell."""
    operation = recorded(entry.operation, entry.details.get("params"))
    return entry.title if operation is None else operation.recorded_heading(entry.details)


def command_line(operation: DeclaredOperation) -> str:
    """As it is typed, ready to be pasted into a shell: ``opsdash restore-queue 4f5e``."""
    options: list[str] = []
    targets: list[str] = []
    for field in parameters(type(operation)):
        value, meta = getattr(operation, field.name), field.metadata
        typed = typed_duration(value) if meta["parse"] is parse_duration and value is not None else str(value)
        if meta["positional"]:
            targets += typed.split() if meta["several"] else [typed]
        elif value is True:
            options.append(spelled(field))
        elif value not in (None, False, field.default):
            options += [spelled(field), typed]
    last = ["--"] if any(target.startswith("-") for target in targets) else []
    return " ".join(map(shell_word, ["opsdash", operation.name.replace("_", "-"), *options, *last, *targets]))


def undo_of(effect: Effect) -> dict[str, Any] | None:
    """What takes it back, for programs: ``operation``, its name, and ``params``. None: nothing does."""
    return None if effect.undo is None else {"operation": effect.undo.name, "params": effect.undo.params()}


def spelled(field: dataclasses.Field[Any]) -> str:
    """A parameter's option on the command line."""
    option: str | None = field.metadata["option"]
    return option or "--" + field.name.replace("_", "-")


def undo_details(effect: Effect) -> dict[str, Any]:
    """For the audit log: what takes it back, and until when."""
    if effect.undo is None:
        return {}
    until = {} if effect.undo_s is None else {"until": datetime.now(UTC) + timedelta(seconds=effect.undo_s)}
    return {"undo": {**(undo_of(effect) or {}), **until}}


def with_recorded_undo(effect: Effect, look: Callable[[], Snapshot]) -> Effect:
    """What the details of its entry say of the undo, as an operation; none where its time is over, or it was done.

    Args:
        look: Called where the undo brings back something that is kept for a while: whether it still is.
    """
    stored = effect.details.get("undo")
    if not isinstance(stored, Mapping):  # there is none, or the entry is older than that
        return effect
    undo, until = (
        recorded(stored.get("operation"), stored.get("params")),
        untrusted.moment(stored.get("until")),
    )
    left_s = None if until is None else max(0.0, (until - datetime.now(UTC)).total_seconds())
    details = {name: value for name, value in effect.details.items() if name != "undo"}
    if undo is not None and left_s is not None:
        knows = type(undo).still_possible is not Operation.still_possible  # else it can't say, and may well be
        if left_s == 0 or (knows and not undo.still_possible(look())):
            undo = left_s = None
    return replace(effect, details=details, undo=undo, undo_s=left_s)
