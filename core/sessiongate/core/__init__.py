"""The session service."""

import os

# gRPC writes lines of its own, with what strangers sent in them as it came: a line
# break in a GOAWAY's debug text would begin a line of their choice. Read when it loads.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
