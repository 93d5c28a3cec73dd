"""`python -m omni_grpc` is `omni-grpc`."""

from omni_grpc.cli import main

main()
