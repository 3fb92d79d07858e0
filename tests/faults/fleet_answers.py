"""The answers of a fleet's programs: each is checked, and no id is forgotten."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection

from sessiongate.client import CallError
from sessiongate.v1.session_pb2 import Session
from sessiongate.v1.session_service_pb2 import ListSessionsResponse
from tests.faults.live_documents import LiveDocument
from tests.faults.scale import times

# Seconds that an answer may be old, unless it names the source: a document that is not read for
# its interval, its timeout and 2 s is named by its core, and a core that is silent for 2 s by a
# front. The rest is for a machine that is busy with other things.
_AGE = 5.5 + 4.5
_PAUSE = times(0.4, 0.15)  # seconds between two questions to a program


class Answers:
    """All ids that were ever told, and what was wrong."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.renamed: set[str] = set()  # users whose session got another id, which was allowed
        self.asked = 0
        self._lock = threading.Lock()
        self._may_rename = False
        self._owners: dict[int, tuple[str, str]] = {}  # source and user by id
        self._ids: dict[tuple[str, str], int] = {}  # the last id that was told

    def allow_new_ids(self) -> None:
        """From now on, sessions may get other ids: the ledger loses some."""
        self._may_rename = True

    def forbid_new_ids(self) -> None:
        """From now on, sessions keep the ids that they have."""
        self._may_rename = False

    def note(self, who: str, sessions: Collection[Session]) -> None:
        """Note which ids somebody has told."""
        with self._lock:
            for session in sessions:
                owner = session.source, session.user
                before = self._owners.setdefault(session.id, owner)
                if before != owner:
                    self._fail(f"{who}: id {session.id} is of {owner}, and was of {before}")
                known = self._ids.get(owner, session.id)
                self._ids[owner] = session.id
                if known != session.id:
                    self.renamed.add(session.user)
                    if not self._may_rename:
                        self._fail(f"{who}: {owner} has the id {session.id}, and had {known}")

    def check(
        self, who: str, page: ListSessionsResponse, since: float, sources: Collection[LiveDocument]
    ) -> None:
        """Check an answer to a question that was asked at a moment."""
        until = time.monotonic()
        self.note(who, page.sessions)
        shown: dict[str, set[str]] = {}
        for session in page.sessions:
            shown.setdefault(session.source, set()).add(session.user)
        self.asked += 1
        for document in sources:
            if document.name not in page.unreachable:
                wrong = document.wrong(shown.get(document.name, set()), since - _AGE, until)
                if wrong:
                    self._fail(f"{who}: {wrong}")

    def _fail(self, what: str) -> None:
        if len(self.faults) < 100:
            self.faults.append(what)


class Questioner:
    """Asks one program again and again, in a thread, until told to end."""

    def __init__(
        self,
        who: str,
        ask: Callable[[], ListSessionsResponse],
        sources: Collection[LiveDocument],
        answers: Answers,
    ) -> None:
        self._who, self._ask, self._sources, self._answers = who, ask, sources, answers
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """Ask no more."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(_PAUSE):
            since = time.monotonic()
            try:
                page = self._ask()
            except CallError:
                continue
            self._answers.check(self._who, page, since, self._sources)
