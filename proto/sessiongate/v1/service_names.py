"""The full names of the contract's services, as health checks and reflection use them."""

from sessiongate.v1 import history_service_pb2, session_service_pb2, source_service_pb2

SESSION_SERVICE = session_service_pb2.DESCRIPTOR.services_by_name["SessionService"].full_name
SOURCE_SERVICE = source_service_pb2.DESCRIPTOR.services_by_name["SourceService"].full_name
HISTORY_SERVICE = history_service_pb2.DESCRIPTOR.services_by_name["HistoryService"].full_name
# The one that only a core in which somebody may act has: nothing of it is imported otherwise.
SESSION_ACTION_SERVICE = "sessiongate.v1.SessionActionService"
# Those that every core has.
SERVICES = (SESSION_SERVICE, SOURCE_SERVICE, HISTORY_SERVICE)
# The one that only a front has; imported there.
FLEET_SERVICE = "sessiongate.v1.FleetService"
