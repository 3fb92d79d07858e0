"""The session service."""

import os

# gRPC writes log lines of its own that contain what peers sent, unescaped: a line break in
# the debug text of a GOAWAY would forge a line. It reads this variable when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
