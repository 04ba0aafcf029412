"""Where secrets are read from, each place only as far as the operator's settings allow; one module a place."""
