"""A fleet as a model: real cores' decisions over a simulated server, on virtual clocks.

It holds, over every server that there ever was, that

- an id is of one session, and no start has the number of another (`fleet.Fleet._check`);
- a source has one open session a key, and none is open and ended;
- only the last claim of a shard commits (`server.Server._show`), and sessions only under one;
- what a core remembers is what the ledger has, before and after each write;
- a take-over of sessions that do not change keeps their ids (`schedules.FleetSchedule.take_over`);
- one core that works is enough (`manage`); a fleet that works comes to rest (`peace`).

Fronts have a model of their own, tests/core/test_follow_model.py: at peace they equal their cores,
a take-over makes no event, and what is open is never denied.
"""
