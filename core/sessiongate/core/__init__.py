"""The session service."""

import os

# gRPC logs lines of its own, with what strangers sent in them unescaped: a line break in
# a GOAWAY's debug text would begin a line of their choice. It reads this when it loads.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
