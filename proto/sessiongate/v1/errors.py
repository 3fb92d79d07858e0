"""How the contract's errors travel: both ends agree on this."""

# The domain of each ErrorInfo.
ERROR_DOMAIN = "sessiongate"
# The trailer that holds the encoded google.rpc.Status of a call that failed.
STATUS_TRAILER = "grpc-status-details-bin"
