"""The reports on every request, in the log and to its caller."""

from __future__ import annotations

import asyncio
import logging

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from sessiongate.gateway.http.admission import Admission
from sessiongate.gateway.http.metrics import GatewayMetrics
from sessiongate.gateway.http.request_log import RequestLog
from sessiongate.gateway.jsonapi.transfer import TransferCutError
from sessiongate.gateway.limits import Limits
from sessiongate.runtime.telemetry.correlation import Correlation, current
from tests.gateway.asgi import Exchange

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def answer(request: Request) -> Response:
    correlation = current.get()
    assert correlation is not None
    return PlainTextResponse(correlation.request_id)


async def page(request: Request) -> Response:
    return PlainTextResponse("", headers={"Content-Security-Policy": "default-src 'self'"})


async def events(request: Request) -> Response:
    return StreamingResponse(iter(["a", "b"]), media_type="text/event-stream; charset=utf-8")


async def fail(request: Request) -> Response:
    raise ValueError("the cause\nis this")


async def fail_within(request: Request) -> Response:
    async def body() -> object:
        yield "half"
        raise ValueError("the cause")

    return StreamingResponse(body())  # type: ignore[arg-type]


async def cut(request: Request) -> Response:
    async def body() -> object:
        yield "half"
        raise TransferCutError("the core failed in the middle of a list")

    return StreamingResponse(body())  # type: ignore[arg-type]


async def sorry(request: Request, error: Exception) -> Response:
    return PlainTextResponse("sorry", 500)


def observed(metrics: GatewayMetrics | None = None, *, access_log: bool = False) -> Admission:
    inner = Starlette(
        routes=[
            Route("/things/{id}", answer),
            Route("/page", page),
            Route("/events", events),
            Route("/fail", fail),
            Route("/half", fail_within),
            Route("/cut", cut),
        ],
        exception_handlers={Exception: sorry},
    )
    return admitting(inner, metrics, access_log=access_log)


def admitting(
    inner: ASGIApp, metrics: GatewayMetrics | None, *, access_log: bool = False
) -> Admission:
    return Admission(inner, Limits(), RequestLog(access_log=access_log, metrics=metrics))


def ask(app: Admission, path: str = "/things/1", **request: object) -> Exchange:
    return asyncio.run(Exchange(path, **request).run(app))  # type: ignore[arg-type]


def test_a_request_has_one_id_for_all() -> None:
    given = ask(observed(), headers=[(b"x-request-id", b"mine")])
    assert (given.text, given.answered["x-request-id"]) == ("mine", "mine")
    made = ask(observed())
    assert made.text == made.answered["x-request-id"]
    assert len(made.text) == 24
    assert current.get() is None


@pytest.mark.parametrize("path", ["/things/1", "/nowhere", "/fail", "/events"])
def test_every_answer_tells_browsers_what_it_is_not(path: str) -> None:
    answered = ask(observed(), path).answered
    assert answered["x-content-type-options"] == "nosniff"
    assert answered["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answered["referrer-policy"] == "no-referrer"
    assert answered["cross-origin-resource-policy"] == "same-origin"
    assert answered["server"] == "sessiongate"


def test_a_page_may_bring_a_policy_of_its_own() -> None:
    exchange = ask(observed(), "/page")
    policies = [value for name, value in exchange.sent[0]["headers"] if b"policy" in name]
    assert b"default-src 'self'" in policies
    assert not any(b"'none'" in policy for policy in policies)


def test_a_failure_is_logged_under_the_id_and_told_to_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[Correlation | None] = []

    class Note(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            seen.append(current.get())
            return True

    caplog.handler.addFilter(Note())
    failed = ask(observed(), "/fail", headers=[(b"x-request-id", b"mine")])
    assert (failed.status, failed.text) == (500, "sorry")
    assert seen == [Correlation("mine")]
    assert "ValueError: the cause" in caplog.text


def test_an_answer_that_fails_half_way_is_left_unfinished(
    caplog: pytest.LogCaptureFixture,
) -> None:
    half = ask(observed(), "/half")
    assert (half.status, half.text, half.complete) == (200, "half", False)
    assert "ValueError: the cause" in caplog.text


def test_the_access_log_names_no_query(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gateway.access"):
        ask(observed(access_log=True), query=b"filter=secret")
    [record] = [record for record in caplog.records if record.name == "gateway.access"]
    assert record.getMessage() == "GET /things/1 200"
    told = record.fields  # type: ignore[attr-defined]
    assert told.pop("seconds") >= 0
    who = {"client": "127.0.0.1", "user": ""}
    assert told == {"method": "GET", "path": "/things/1", "status": 200, **who}


def test_a_long_path_is_cut_in_the_access_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "gateway.access"):
        ask(observed(access_log=True), path="/" + "x" * 5000)
    [record] = [record for record in caplog.records if record.name == "gateway.access"]
    assert record.getMessage() == f"GET /{'x' * 1023} 404"


def test_without_an_access_log_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        ask(observed())
    assert [record.name for record in caplog.records if record.name == "gateway.access"] == []


def test_requests_are_counted_by_route_method_and_status() -> None:
    metrics = GatewayMetrics()
    app = observed(metrics)
    for path in ("/things/1", "/things/2", "/things/2", "/nowhere/1", "/nowhere/2", "/fail"):
        ask(app, path)
    for method in ("HEAD", "BREW", "STIR"):
        ask(app, method=method)
    ask(app, "/events")
    metrics.write()
    name = "sessiongate_http_request_duration_seconds_count"
    counts = {
        tuple(sample.labels[label] for label in ("route", "method", "status")): sample.value
        for metric in metrics.registry.collect()
        for sample in metric.samples
        if sample.name == name
    }
    assert counts == {
        ("/things/{id}", "GET", "200"): 3,
        ("other", "GET", "404"): 2,
        ("/fail", "GET", "500"): 1,
        ("/things/{id}", "HEAD", "200"): 1,
        ("/things/{id}", "other", "405"): 2,
        ("/events", "GET", "200"): 1,
    }


def test_a_caller_that_leaves_before_the_answer_counts_as_such() -> None:
    metrics = GatewayMetrics()

    async def never(scope: object, receive: object, send: object) -> None:
        await asyncio.Event().wait()

    async def leave() -> None:
        task = asyncio.create_task(Exchange().run(admitting(never, metrics)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    metrics.write()
    assert (
        metrics.registry.get_sample_value(
            "sessiongate_http_request_duration_seconds_count",
            {"route": "other", "method": "GET", "status": "499"},
        )
        == 1
    )


def test_an_answer_that_the_core_cuts_short_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    exchange = ask(observed(), "/cut")
    assert not any(message.get("more_body") is False for message in exchange.sent[1:])
    [record] = [
        found for found in caplog.records if found.name == "sessiongate.gateway.http.request_log"
    ]
    assert (record.levelname, record.exc_info) == ("WARNING", None)
    assert record.getMessage() == (
        "an answer is cut short: the core failed in the middle of a list"
    )
