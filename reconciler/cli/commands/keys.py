"""`reconciler keys`: which keys a service takes; shows and regenerates generated ones."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any, cast

from reconciler.cli import exits
from reconciler.cli.console import Console
from reconciler.cli.doing import ask_daemon, carry_out, daemon_of, show, who
from reconciler.cli.parser import Parser, add_output, add_settings, add_source
from reconciler.cli.recorded import known_service
from reconciler.cli.session import Session
from reconciler.core.errors import RefusedError
from reconciler.core.secrets import Secret
from reconciler.core.values import walk

if TYPE_CHECKING:
    from reconciler.core.change import Change
    from reconciler.core.resources import Baseline
    from reconciler.wiring import Installation

SLOTS = ("primary", "secondary")


def configure(parser: Parser) -> None:
    """Declares the arguments."""
    parser.about(
        "Say which keys a service takes and where they come from. With --regenerate the next key of that slot becomes\n"
        "the valid one, without a restart; the other slot's key stays, so that callers can change over.",
        (
            ("reconciler keys diabetes", "where its keys come from"),
            ("reconciler keys diabetes --show", "the keys themselves"),
            ("reconciler keys diabetes --regenerate secondary", "a new secondary key"),
        ),
    )
    parser.add_argument("service", help="name of the service")
    parser.add_argument("--show", action="store_true", help="print generated keys")
    parser.add_argument("--regenerate", choices=SLOTS, metavar="SLOT", help="primary or secondary")
    add_source(parser)
    add_settings(parser)
    add_output(parser)


def run(arguments: Namespace, console: Console) -> int:
    """Shows the keys, or makes a new one."""
    session = Session(arguments)
    try:
        opened = session.installation()
        recorded = known_service(opened.store, arguments.service)
        if not takes_keys(recorded):
            raise RefusedError(
                f"{arguments.service} takes no keys", hint="`auth: {enabled: true}` in its manifest asks for them"
            )
        if arguments.regenerate:
            code = _regenerate(arguments, console, session, opened)
            if code != exits.DONE:
                return code
            recorded = known_service(opened.store, arguments.service)
            if not arguments.show and console.output != "json":
                return exits.DONE
        _show(arguments, console, opened, recorded)
        return exits.DONE
    finally:
        session.close()


def takes_keys(recorded: list[Baseline]) -> bool:
    """Whether requests to the service need one."""
    specs = [b.sent for b in recorded if b.sent is not None]
    return any(bool(_auth(spec).get("enabled")) for spec in specs)


def _auth(spec: Any) -> dict[str, Any]:
    found = spec.get("auth")
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def fingerprints(recorded: list[Baseline]) -> set[str]:
    """Of every key that was applied."""
    return {
        leaf.fingerprint
        for b in recorded
        if b.sent is not None
        for _, leaf in walk(_auth(b.sent))
        if isinstance(leaf, Secret)
    }


def generated(opened: Installation, service: str, recorded: list[Baseline]) -> dict[str, Secret]:
    """The generated keys that the service takes now, by slot."""
    applied = fingerprints(recorded)
    rotations = opened.store.rotations()
    name = opened.store.key_names().of(service)
    found: dict[str, Secret] = {}
    for slot in SLOTS:
        newest = rotations.get((name, slot), 0)
        # A rotation that was not applied yet leaves the key before it valid.
        for rotation in (newest, newest - 1):
            key = opened.identity.service_key(name, slot, rotation)
            if rotation >= 0 and key.fingerprint in applied:
                found[slot] = key
                break
    return found


def _show(arguments: Namespace, console: Console, opened: Installation, recorded: list[Baseline]) -> None:
    own = generated(opened, arguments.service, recorded)
    slots: dict[str, dict[str, str]] = {}
    for slot in SLOTS:
        key = own.get(slot)
        slots[slot] = {"source": "generated" if key else "referred to by its manifest"}
        if key and arguments.show:
            slots[slot]["key"] = key.reveal()
    if console.output == "json":
        console.json({"service": arguments.service, "keys": slots})
        return
    for slot, about in slots.items():
        console.line(f"{slot:<10} {about.get('key') or about['source']}")


def _regenerate(arguments: Namespace, console: Console, session: Session, opened: Installation) -> int:
    service, slot = arguments.service, arguments.regenerate
    if slot not in generated(opened, service, known_service(opened.store, service)):
        raise RefusedError(
            f"the {slot} key of {service} is not a generated one", hint="change it where its manifest refers to"
        )
    if daemon_of(opened.store) is not None:
        ask_daemon(opened.store, opened.places, "rotate-key", {"service": service, "slot": slot}, console)
        console.note(f"{service}: new {slot} key")
        return exits.DONE
    with opened.store.writing("keys"):
        opened.store.rotate(service, slot)
        look = opened.reconciler.look(tree=opened.use(session.committed()), holds=False)
        changes = [c for c in look.plan.effective() if c.service == service]
        waiting = [r for r in look.plan.refusals if r.code == "approval-required"]
        if any(change.id.target in refusal.targets for change in changes for refusal in waiting):
            console.note(f"{service}: new {slot} key; it is valid once its target's plan is approved and applied")
            return exits.DONE
        if not changes or not all(_only_keys(change) for change in changes):
            console.note(f"{service}: new {slot} key; it is valid after the next apply, which brings other changes too")
            return exits.DONE
        from reconciler.engine.outcome import ApplyOptions, Outcome
        from reconciler.engine.record import record_run

        options = ApplyOptions(by=who())

        def work(progress: Any, cancel: Any) -> Outcome:
            results = opened.reconciler.execute(look, changes, options, progress, cancel)
            outcome = Outcome(look.plan, look, results, cancelled=cancel.reason)
            record_run(opened.store, look, outcome, options, sum(r.seconds for r in results), opened.clock.now())
            return outcome

        summary = carry_out(work, console)
    if summary.exit_code != exits.DONE:
        return show(summary, console)
    console.note(f"{service}: new {slot} key")
    return exits.DONE


def _only_keys(change: Change) -> bool:
    return bool(change.fields) and all(f.pointer.startswith("/auth/") for f in change.fields)
