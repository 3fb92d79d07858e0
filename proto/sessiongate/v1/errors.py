"""How the contract's errors are sent, as both ends agree."""

# The domain of each ErrorInfo.
ERROR_DOMAIN = "sessiongate"
# The trailer that holds the encoded google.rpc.Status of a call that failed.
STATUS_TRAILER = "grpc-status-details-bin"
