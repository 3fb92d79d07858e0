"""The schemas of the attributes of sessions in history, and of its gaps."""

from __future__ import annotations

from sessiongate.gateway.openapi.schema import Schema, object_of, text_of
from sessiongate.gateway.openapi.session_schemas import SESSION_SCHEMAS
from sessiongate.gateway.representation.past_session import (
    END_REASONS,
    GAP_REASONS,
    NOT_KEPT,
)

_ATTRIBUTES = SESSION_SCHEMAS["SessionAttributes"]

PAST_SESSION_SCHEMAS: Schema = {
    "PastSessionAttributes": {
        **_ATTRIBUTES,
        "properties": {
            **{
                name: shape
                for name, shape in _ATTRIBUTES["properties"].items()
                if name not in NOT_KEPT
            },
            "ended": text_of(
                "When it was found to have ended. Absent if it has not ended.", format="date-time"
            ),
            "end_reason": text_of("How it ended.", enum=[*END_REASONS.values()]),
            "end_from": text_of(
                "If `end_reason` is `not_seen`: when it was last seen.", format="date-time"
            ),
            "end_to": text_of(
                "If `end_reason` is `not_seen`: by when it had ended.", format="date-time"
            ),
            "ended_by": text_of("If `end_reason` is `terminated`: by whom."),
        },
    },
    "HistoryGap": object_of(
        {
            "source": text_of("The source that this concerns."),
            "from": text_of(
                "When the gap begins. Absent if it has no beginning.", format="date-time"
            ),
            "to": text_of("When it ends.", format="date-time"),
            "reason": text_of(
                "Why it is not known who was connected.", enum=[*GAP_REASONS.values()]
            ),
        },
        "source",
        "to",
        about="A time of which not everything is known.",
    ),
}
