"""Python environments: what a manifest declares, resolved once into a hashed lock, built once, shared by services.

    conda, requirements   a user's files as PEP 508 requirements, with positions     (pure)
    declared, python      everything an environment asks for; which Python it gets   (pure)
    interpreters          which Pythons this machine has
    uv                    the one place that runs uv, and names what it answers
    lock, build           requirements -> lock -> virtual environment at its final path
    driver                the target `registry/environments`
    runtime               the scoring runtime's code as a tree of its own

docs/environments.md says it for users.
"""
