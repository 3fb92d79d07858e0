"""Where a core listens, and its clients call it, unless told otherwise."""

DEFAULT_ADDRESS = "127.0.0.1:50051"
