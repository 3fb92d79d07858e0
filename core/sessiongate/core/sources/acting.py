"""The interface of a kind of source whose sessions one can act on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Protocol, TypeAlias, runtime_checkable

from sessiongate.core.sources.observed import Observed
from sessiongate.v1.session_pb2 import Session


class Action(StrEnum):
    """An action on a session."""

    CANCEL = "cancel"  # cancel the statement that it runs
    TERMINATE = "terminate"  # end it


class ActFault(Enum):
    """Why an act was not done."""

    GONE = auto()  # the session has ended
    CHANGED = auto()  # the session, or its statement, is another one
    NO_STATEMENT = auto()  # there is nothing to cancel
    REFUSED = auto()  # the server refuses it to this user
    UNSUPPORTED = auto()  # this server cannot do it safely
    HIT_ANOTHER = auto()  # it was done to another session, which had come in between


class ActError(Exception):
    """An act failed, for a reason that is certain; the text is for the caller.

    It contains no secret. Unless the fault is `ActFault.HIT_ANOTHER`, nothing was done.
    """

    def __init__(self, fault: ActFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Target:
    """A session to act on, as it was last observed and shown.

    ``item`` is the object that the source delivered, ``session`` what is shown of it;
    ``incarnation`` is the server's start as the source last stated it. With
    ``same_statement``, cancel only the statement that the session ran then.
    """

    item: Observed
    session: Session
    incarnation: float | None
    same_statement: bool = False


# Does what was aimed at, once. Raises `ActError`; after any other error it may have been done.
Strike: TypeAlias = Callable[[], Awaitable[None]]


@runtime_checkable
class ActingSource(Protocol):
    """A source whose sessions one can act on; it is asked only for what ``actions`` allows."""

    possible_actions: Collection[Action]

    def aim(self, action: Action, target: Target) -> AbstractAsyncContextManager[Strike]:
        """Prepare an act, and look whether the session is still the one that was observed.

        It may run at the same time as `observe`. On entering it raises `ActError`, or
        `SourceError` if the source cannot be reached; then nothing was done.
        """
