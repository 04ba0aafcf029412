"""The docker engine of a Local target: each service a container."""
