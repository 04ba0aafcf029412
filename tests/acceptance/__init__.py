"""What people rely on, from outside: which test proves which scenario.

`TABLE` names for each scenario the tests that prove it, here or where they stood already; `test_table` holds that each
of them exists. Where a test's first part is a contract suite, every driver passes it.

`LATER` holds the scenarios of targets and endpoints that do not exist yet.
"""

from __future__ import annotations

HERE = "acceptance/test_scenarios.py::"
BAD = "acceptance/test_bad_input.py::"
MACHINE = "acceptance/test_machine.py::"
SECRETS = "acceptance/test_secrets.py::"
CONTRACT = "contract/rules/"
DAEMON = "daemon/test_daemon.py::"

TABLE: dict[str, tuple[str, ...]] = {
    "a listing that fails or breaks off deletes nothing and is told": (
        HERE + "test_a_listing_that_fails_deletes_nothing_and_is_told",
        CONTRACT + "observe.py::test_a_reading_that_breaks_off_is_partial",
    ),
    "a repo that renders to nothing empties no target": (
        HERE + "test_a_repo_that_renders_to_nothing_empties_no_target",
    ),
    "more than 30 % of ten or more is refused": (
        HERE + "test_more_than_a_third_at_once_is_refused_and_lifted_by_percent",
        HERE + "test_an_approval_is_of_that_plan_only",
    ),
    "defaults of a target are no drift": (CONTRACT + "round_trip.py::test_the_targets_own_spelling_is_no_drift",),
    "an ignored field keeps its live value": (
        HERE + "test_an_ignored_field_keeps_its_live_value_when_another_changes",
    ),
    "a canary secret is in no output": (
        SECRETS + "test_a_secret_written_into_a_manifest_is_refused_and_not_repeated",
        SECRETS + "test_credentials_in_addresses_are_masked",
        SECRETS + "test_secrets_by_reference_are_nowhere_but_where_they_are_used",
        "cli/test_offline.py::test_a_secret_near_a_syntax_error_is_not_shown",
    ),
    "a secret that changes is written once and not shown": (
        CONTRACT + "round_trip.py::test_a_secret_arrives_and_is_not_read_back",
        "core/test_plan.py::test_a_secret_is_shown_as_changed_and_not_shown",
    ),
    "kill -9 at every step converges": (
        "crash/test_crash.py::test_killed_at_every_moment_it_converges",
        "engine/test_reconcile.py::test_a_crash_at_any_call_converges",
        "targets/local/test_crashes.py::test_daemon_killed_at_any_moment",
    ),
    "a new commit ends a wait for health": (
        DAEMON + "test_a_newer_commit_ends_the_waiting_of_what_it_changes",
        DAEMON + "test_a_commit_that_concerns_another_target_interrupts_nothing",
    ),
    "health of the version before does not count": (CONTRACT + "observe.py::test_health_is_of_this_version",),
    "only the plan that was approved is applied": (
        "cli/test_commands.py::test_only_the_approved_plan_is_applied",
        "daemon/test_requests.py::test_apply_of_another_plan_than_the_one_seen_is_refused",
        HERE + "test_an_approval_is_of_that_plan_only",
    ),
    "a saved plan survives changes of what it does not touch, and no others": (
        HERE + "test_a_saved_plan_survives_changes_of_what_it_does_not_touch",
        HERE + "test_a_saved_plan_whose_resource_changed_is_refused_with_the_difference",
        HERE + "test_a_saved_plan_is_not_made_stale_by_doing_nothing",
        "cli/test_saved_plans.py::test_a_newer_commit_supersedes",
    ),
    "a target that asks for approvals waits for one, and does just what was approved": (
        "engine/test_approvals.py::test_nothing_is_done_until_somebody_says_yes_and_then_just_that",
        "engine/test_approvals.py::test_another_plan_supersedes_and_a_commit_that_does_not_concern_it_does_not",
        "engine/test_approvals.py::test_a_saved_plan_is_approved_by_the_digest_it_shows",
        "engine/test_approvals.py::test_deletes_need_the_word_and_no_second_one_for_the_rails",
        "daemon/test_approvals.py::test_a_daemon_waits_for_somebodys_word_and_goes_on_with_it",
        "cli/test_approvals.py::test_what_waits_is_told_everywhere_and_approved_by_the_command_it_names",
    ),
    "whatever is wanted, seen and recorded, no plan goes too far and every refusal has a way on": (
        "core/test_rails.py::test_no_plan_goes_too_far_and_no_refusal_is_an_end",
        "core/test_ways.py::test_every_refusal_has_a_way_on",
        "engine/test_convergence.py::test_applying_a_plan_makes_the_next_one_empty",
    ),
    "a digest depends neither on files nor on their order": (
        "wiring/test_order.py::test_a_plan_does_not_depend_on_where_documents_stand",
        "core/test_plan.py::test_the_plan_does_not_depend_on_order",
    ),
    "a no-op writes nothing": (
        HERE + "test_doing_nothing_writes_nothing",
        DAEMON + "test_a_reconcile_without_changes_writes_nothing",
        "targets/local/test_lifecycle.py::test_unchanged_apply_writes_nothing",
        MACHINE + "test_without_its_store_an_installation_adopts_what_runs",
    ),
    "a copy of ours is not ours": (CONTRACT + "ownership.py::test_a_copy_of_ours_is_not_ours",),
    "a rename is pointed out": (
        HERE + "test_a_rename_is_pointed_out",
        "acceptance/test_moves.py::test_a_rename_without_the_line_is_pointed_out",
    ),
    "a move keeps keys, address and history": (
        "acceptance/test_moves.py::test_a_move_keeps_keys_address_and_history",
        "targets/local/test_moves.py::test_a_move_loses_no_request",
        "engine/test_moves.py::test_a_crash_in_a_move_converges",
        CONTRACT + "moves.py::test_a_move_leaves_no_gap",
    ),
    "a throttled target holds up no other": (
        HERE + "test_a_throttled_target_holds_up_no_other",
        DAEMON + "test_targets_that_hang_delay_no_other",
        CONTRACT + "failure.py::test_a_throttled_answer_keeps_the_time_asked_for",
    ),
    "links out of the tree, alias bombs, huge files and trees are bounded": (
        BAD + "test_bad_input_is_told_and_changes_nothing",
        "manifests/test_fuzz.py::test_a_mutated_example_never_raises_searched_deeply",
    ),
    "the same drift is noted once, then its end": (
        "engine/test_reconcile.py::test_the_same_reported_drift_is_noted_once_however_often_it_is_seen",
        "engine/test_reconcile.py::test_drift_that_is_healed_is_noted_with_its_end",
        "engine/test_reconcile.py::test_a_fight_with_another_writer_is_told_once",
        "core/test_drifting.py::test_the_same_drift_is_told_and_written_once",
        DAEMON + "test_drift_under_heal_is_taken_back_and_under_report_is_not",
        "acceptance/test_drift.py::test_a_hand_is_told_once_taken_back_where_that_is_the_policy_and_counted",
    ),
    "a dead holder's lease passes on, late writes fail": (
        "engine/test_store.py::test_an_expired_lease_passes_on_with_a_higher_fence_and_late_writes_fail",
        "daemon/test_process.py::test_a_killed_daemon_leaves_its_lease_to_the_next",
        "engine/test_store.py::test_a_lease_that_is_taken_away_binds_nobody_and_its_holder_writes_nothing",
        MACHINE + "test_a_second_command_waits_for_nobody_and_says_who_is_at_work",
        MACHINE + "test_a_daemon_that_hangs_loses_its_lease_to_the_next",
    ),
    "another way of computing digests recreates nothing": (
        HERE + "test_another_way_of_computing_digests_recreates_nothing",
    ),
    "one broken file among 200": (
        BAD + "test_one_broken_file_among_200_is_told_with_all_others_planned",
        HERE + "test_a_broken_document_among_many_deletes_nothing",
    ),
    "protection takes two merges": (
        HERE + "test_protection_takes_two_merges_even_without_the_record",
        "acceptance/test_moves.py::test_a_move_of_something_protected_takes_two_merges",
        "core/test_moves.py::test_a_protected_resource_is_not_replaced_by_an_empty_one",
    ),
    "a lost store adopts what runs": (
        MACHINE + "test_without_its_store_an_installation_adopts_what_runs",
        "engine/test_reconcile.py::test_a_lost_store_adopts_what_runs",
    ),
    "a lost identity makes everything foreign and deletes nothing": (
        HERE + "test_another_identity_makes_everything_foreign_and_touches_nothing",
        MACHINE + "test_without_its_identity_everything_is_foreign_and_stays",
    ),
    "two installations at one target": (CONTRACT + "ownership.py::test_another_installation_owns_nothing_of_ours",),
    "a changed process is staged, tested and promoted without a lost request": (
        "targets/local/test_traffic.py::test_rollout_loses_nothing",
    ),
    "a full disk": (MACHINE + "test_a_full_disk_stops_an_apply_and_nothing_else",),
    "a port in use": (BAD + "test_a_port_in_use_is_told_with_its_holder_and_nothing_stays",),
}
LATER: dict[str, str] = {
    "content of an edge deployment changes by a new one at a higher priority": "no edge target yet",
    "an edge deployment that goes leaves modules running unmanaged, and the plan says so": "no edge target yet",
    "a container instance is written with every property, and replaced where it must be": "no aci target yet",
    "a webhook survives huge, deep, unsigned and empty bodies": "no webhooks yet",
    "a fresh target serves the same split of traffic": "no split of traffic yet",
}
