"""The one error a user is meant to see: what is wrong, where, and the command that mends it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A failure that the user can mend. The command line prints it without a traceback and exits with status 2.

    `message` says what is wrong and where; `fix`, where there is one, is the command or the edit that mends it.
    """

    def __init__(self, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  to mend it: {self.fix}" if self.fix else self.message

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str | None]]:
        # Errors cross process borders (data loader workers, joblib) and must arrive whole.
        return type(self), (self.message, self.fix)


@contextmanager
def named(name: str) -> Iterator[None]:
    """Put `name`, an image id, in front of the message of a UserError raised inside."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{name}: {error.message}", error.fix) from None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for a `name` that is none of the `known` ones, with the nearest of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return UserError(f"unknown {kind} '{name}'{hint} (known: {', '.join(known)})")
