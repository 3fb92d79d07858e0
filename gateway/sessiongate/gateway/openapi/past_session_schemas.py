"""The schemas of sessions in history, of counts over time, and of what is not known of it."""

from __future__ import annotations

from sessiongate.gateway.api.past_counts import PAST_COUNTED_BY
from sessiongate.gateway.openapi.schema import (
    Schema,
    array_of,
    fixed,
    object_of,
    text_of,
    whole,
)
from sessiongate.gateway.openapi.session_schemas import SESSION_SCHEMAS
from sessiongate.gateway.representation.count import MISSING_VALUE
from sessiongate.gateway.representation.past_count import ALL, OTHER
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
            "client": object_of(
                {"cipher": _ATTRIBUTES["properties"]["client"]["properties"]["cipher"]}
            ),
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
            "longest_transaction": {
                "type": "number",
                "description": "Seconds of its longest transaction, as far as they were seen."
                " Absent if none was.",
            },
        },
    },
    "PastCountResource": object_of(
        {
            "id": text_of(
                "The value that the sessions have in common, percent-encoded;"
                f" `{MISSING_VALUE}` if they have none, `{OTHER}` of all values without a resource"
                f" object of their own, and `{ALL}` if they are counted together."
            ),
            "type": fixed("counts"),
            "attributes": object_of(
                {
                    **{
                        name: {"type": ["string", "null"], "description": "The value."}
                        for name in PAST_COUNTED_BY
                    },
                    "counts": array_of(
                        whole("Number of sessions."), "Of each moment in `meta.times`."
                    ),
                },
                "counts",
            ),
        },
        "id",
        "type",
        "attributes",
    ),
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
