"""The address at which a core listens and its clients call it by default."""

DEFAULT_ADDRESS = "127.0.0.1:50051"
