"""One module a command (or a small group): `configure` declares its arguments, `run` carries it out."""
