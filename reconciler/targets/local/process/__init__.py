"""The local process engine: one supervised, detached group of processes a service.

Two programs meet here, and only through a folder and a unix socket:

- the *supervisor* (`supervisor`, `service`, `group`, `worker`, `control`, `journal`, `listener`, `loop`, `spawn`)
  outlives the daemon, owns the service's listening socket and its workers. It imports little, since there is one a
  service: no dataclasses, no typing at run time, nothing of `core`.
- the *driver* (`driver`, `render`, `staging`, `look`, `watching`, `tailing`) runs in the daemon or the command.

`layout` and `wire` belong to both.
"""
