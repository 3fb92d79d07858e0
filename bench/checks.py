"""Verification, before any measurement, that a server responds correctly.

Only responses with the right status and sessions are compared; the bare server must
send the gateway's bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise

from bench.asking import Answer, ask
from bench.paths import ALL, FILTERED, NOT_MODIFIED, ONE, PAGE, PAGE_SIZE, Question, question
from bench.programs import BenchError
from bench.stack import BARE, ENVOY, GATEWAY, GATEWAY_2, HELLO, Stack, Stage, until


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was answered correctly, and the response's length in bytes."""

    question: Question
    length: int


class Checks:
    """Sends each request to each server of a stack once."""

    def __init__(self, stage: Stage, stack: Stack) -> None:
        self._stage = stage
        self._stack = stack
        self._references: dict[str, Answer] = {}

    def references(self, paths: Set[str]) -> dict[str, Answer]:
        """Return the gateway's responses on these paths, by the bare server's paths for them."""
        address = self._stack.servers[GATEWAY].address
        for path in paths:
            asked = self._question(path, GATEWAY, address)
            self._references[f"/{path}"] = ask(address, asked.paths[0], asked.headers)
        return self._references

    def ask(self, path: str, server: str, address: str) -> Asked:
        """Check a server's response. Raises `BenchError`, which names the fault."""
        asked = self._question(path, server, address)
        if path == ALL and server in (GATEWAY, GATEWAY_2):
            # Until its copy is complete, it asks the core, and sends what it gets in parts.
            until(
                lambda: not ask(address, asked.paths[0]).is_chunked,
                "the gateway does not answer from its copy",
            )
        answers = [ask(address, each, asked.headers) for each in asked.paths]
        for answer, each in zip(answers, asked.paths, strict=True):
            if answer.status != asked.status:
                text = answer.body[:300].decode(errors="replace")
                raise BenchError(f"{each} is answered with {answer.status}: {text}")
        if fault := self._fault(path, server, asked, answers):
            raise BenchError(f"{asked.paths[0]} is answered with {fault}")
        return Asked(asked, sum(len(answer.body) for answer in answers))

    def _question(self, path: str, server: str, address: str) -> Question:
        asked = question(path, server, self._stack)
        if path == NOT_MODIFIED:
            etag = ask(address, asked.paths[0]).header("etag")
            if etag is None:
                raise BenchError("there is no ETag to ask with")
            asked.headers["If-None-Match"] = etag
        return asked

    def _fault(
        self, path: str, server: str, asked: Question, answers: Sequence[Answer]
    ) -> str | None:
        body = answers[0].body
        if server == HELLO:
            return None if body == b"hello, world" else "something else than a greeting"
        if server == BARE:
            same = answers[0] == self._references[asked.paths[0]]
            return None if same else "other bytes than the gateway's"
        if path == NOT_MODIFIED:
            return "a body" if body else None
        found = [ident for answer in answers for ident in _ids(answer, server == ENVOY)]
        right = self._is_right(path, found)
        return None if right else f"the wrong sessions: {len(found)} of them, first {found[:5]}"

    def _is_right(self, path: str, found: Sequence[int]) -> bool:
        if path == ONE:
            return found == [self._stack.steady]
        if not _is_ascending(found):
            return False
        if path == FILTERED:
            return len(found) == PAGE_SIZE
        expected = sorted(self._stack.ids)
        if path == PAGE:
            expected = expected[:PAGE_SIZE]
        if self._stage.churning:  # a walk meets some sessions that arrive meanwhile
            return path in (PAGE, ALL) and abs(len(found) - len(expected)) <= len(expected) // 10
        return found == expected


def _is_ascending(ids: Sequence[int]) -> bool:
    return all(one < other for one, other in pairwise(ids))


def _ids(answer: Answer, is_envoy: bool) -> Iterable[int]:
    """Return the ids of a document's sessions, in its order."""
    document = answer.json
    if is_envoy:
        # Empty members are left out.
        rows = [document["session"]] if "session" in document else document.get("sessions", [])
    else:
        data = document["data"]
        rows = data if isinstance(data, list) else [data]
    return (int(row["id"]) for row in rows)
