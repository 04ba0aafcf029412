"""The command line: words and wiring, nothing else. Every command is a module of its own, loaded when it is called."""
