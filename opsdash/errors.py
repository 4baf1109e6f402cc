"""What can go wrong: each error carries its facts as fields, and the sentence of a surface is composed from them.

The exit code of the command line belongs to the class (``exit_code``), so every surface agrees on it.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias

Changed: TypeAlias = Literal["nothing", "perhaps"]

NOTHING_CHANGED = "Nothing was changed."
LOOK_AGAIN = "Look again."
"""The hint when the data has changed since the preview."""
LOOK_FIRST = "Look before trying again."
"""The hint where something may have been changed."""
_ENDS = (".", "!", "?", "…")


class OpsdashError(Exception):
    """Base of every error opsdash raises on purpose.

    ``str`` of it is for an operation, ``explanation`` is for a read.

    Attributes:
        message: The fault alone, in one or two sentences.
        hint: What to do now, a sentence; empty: nothing in particular.
        field: The parameter of an operation, or the option, that is at fault.
        setting: The wrong environment variable, such as ``OPSDASH_REDIS_URL``: the text begins with its name
            and a colon.
        changed: ``nothing``, or ``perhaps``: then look before trying again. As the exit code, of the class.
        retry: The same may work later, as it is.
        silent: There was no answer at all: an outage. Any other fault needs a person to read and repair it.
    """

    exit_code: ClassVar[int] = 1
    status: ClassVar[str] = "failure"
    """Status of an audit entry whose operation ended so."""
    changed: ClassVar[Changed] = "nothing"
    default_retry: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        field: str = "",
        setting: str = "",
        retry: bool | None = None,
        silent: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        self.setting = setting
        self.retry = self.default_retry if retry is None else retry
        self.silent = silent

    def __str__(self) -> str:
        """For an act: the fault, whether anything was changed, and what to do. Of a setting that goes unsaid."""
        unchanged = NOTHING_CHANGED if self.changed == "nothing" and not self.setting else ""
        return sentences(self.fault, unchanged, self.hint)

    @property
    def explanation(self) -> str:
        """For a read, which changes nothing anyway: the fault, and what to do."""
        return sentences(self.fault, self.hint)

    @property
    def facts(self) -> dict[str, Any]:
        """The fields for programs: ``changed``, and of the others those that hold something."""
        named = {"field": self.field, "setting": self.setting, "hint": self.hint, "retry": self.retry}
        return {"changed": self.changed, **{name: value for name, value in named.items() if value}}

    @property
    def fault(self) -> str:
        """What went wrong alone, behind the name of the setting where one is at fault."""
        return f"{self.setting}: {self.message}" if self.setting else self.message


class Invalid(OpsdashError):
    """A setting or an argument is wrong; with ``field`` or ``setting``, the text begins with its name and a colon."""

    exit_code = 2
    status = "refused"

    @property
    def fault(self) -> str:
        """What went wrong alone, behind the name of what is at fault."""
        return self.fault_of(self.field)

    def fault_of(self, field: str) -> str:
        """As ``fault``, with what this surface calls the field: its label, or its option."""
        return f"{field}: {self.message}" if field and not self.setting else super().fault


class Refused(OpsdashError):
    """opsdash would not do it: role, confirmation, or a rule of the operation."""

    exit_code = 3
    status = "refused"


class PhraseMissing(Refused):
    """What must be typed beside ``YES`` was not.

    Attributes:
        expected: What must be typed.
    """

    def __init__(self, title: str, expected: str) -> None:
        super().__init__(f"{title} also needs {expected!r} typed beside YES.", field="phrase")
        self.expected = expected


class NeedsApproval(Refused):
    """It waits for a second person now.

    Attributes:
        approval_id: What ``opsdash approve`` takes.
    """

    def __init__(self, title: str, approval_id: str, until: str) -> None:
        super().__init__(
            f"{title} waits for a different operator's YES until {until}.",
            hint=f"To approve it: opsdash approve {approval_id}",
        )
        self.approval_id = approval_id


class Unavailable(OpsdashError):
    """Redis or the database did not answer before anything was done; it may later."""

    exit_code = 4
    default_retry = True


class Uncertain(OpsdashError):
    """The act was begun and its end is not known, or not recorded."""

    exit_code = 5
    status = "unknown"
    changed = "perhaps"


def explained(error: BaseException) -> str:
    """An error of any kind within a sentence: ours explain themselves, others have their text or their name."""
    return error.explanation if isinstance(error, OpsdashError) else str(error) or type(error).__name__


def sentences(*parts: str) -> str:
    """One line of what there is, each part ended by a full stop where another one follows."""
    given = [part for part in parts if part]
    ended = [part if part.endswith(_ENDS) else f"{part}." for part in given[:-1]]
    return " ".join([*ended, *given[-1:]])
