"""A plugin of pytest for `make torture`: prints what became of each fault."""

from collections import Counter

COLUMNS = ["refused", "the same", "raw error", "half", "wrong", "lost", "executed", "crashed"]
TITLES = {"fault": "the fault matrix", "comparison": "the same faults without these functions"}

# Unit tests that are rows, too: each case that passes counts as this outcome.
ROWS = {
    "test_an_optimizer_goes_on_to_the_bit": ("an optimizer of torch goes on", "the same"),
    "test_a_scheduler_goes_on_to_the_bit": ("a scheduler of torch goes on", "the same"),
    "test_a_piece_goes_on_where_it_was": ("a scaler, generator or loader goes on", "the same"),
    "test_an_average_of_the_weights_stays_in_step": ("an average of weights goes on", "the same"),
    "test_two_models_with_two_optimizers_are_one_file": ("two models in one file", "the same"),
    "test_the_state_of_another_class_is_refused": ("the state of another class", "refused"),
    "test_other_parts_are_refused": ("the state of another class", "refused"),
    "test_parameters_of_other_shapes_are_refused": ("states of other shapes", "refused"),
    "test_a_state_of_another_shape_is_refused": ("states of other shapes", "refused"),
    "test_groups_that_an_older_pytorch_wrote_are_accepted": (
        "groups of another PyTorch",
        "the same",
    ),
    "test_the_part_of_a_tensor_that_one_process_holds_is_refused": (
        "a part of a tensor is saved",
        "refused",
    ),
    "test_numpy_values_are_refused_although_this_process_allows_them": (
        "what would not load is saved",
        "refused",
    ),
    "test_a_file_without_checksums_is_not_written": ("what would not load is saved", "refused"),
    "test_states_of_more_or_fewer_cards_are_refused_first_with_the_way_out": (
        "states of other cards",
        "refused",
    ),
    "test_a_file_of_another_kind_is_named_with_the_line_that_opens_it": (
        "a sound file of another kind",
        "refused",
    ),
    "test_what_is_no_file_of_torch_is_named_for_what_it_is": (
        "a sound file of another kind",
        "refused",
    ),
    "test_whichever_read_fails_the_error_of_the_system_comes_out": (
        "the drive fails while loading",
        "refused",
    ),
    "test_what_the_system_reports_comes_out_as_it_is": (
        "the drive fails while loading",
        "refused",
    ),
    "test_too_little_memory_is_never_called_damage": ("too little memory", "refused"),
    "test_two_threads_and_a_reader": ("two threads save, a third loads", "the same"),
}


def pytest_terminal_summary(terminalreporter):
    for kind, title in TITLES.items():
        if totals := totals_of(terminalreporter, kind):
            terminalreporter.section(title)
            for line in table(totals):
                terminalreporter.write_line(line)


def totals_of(terminalreporter, kind):
    totals = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for fault, outcomes in noted(report, kind):
                    totals.setdefault(fault, Counter()).update(outcomes)
    return totals


def noted(report, kind):
    """The faults and outcomes that a test has noted, or that it stands for."""
    yield from (value for name, value in report.user_properties if name == kind)
    function = report.nodeid.partition("[")[0].rpartition("::")[2]
    silent = not any(name == "fault" for name, _ in report.user_properties)
    if kind == "fault" and function in ROWS and report.outcome != "skipped":
        fault, outcome = ROWS[function]
        yield fault, {outcome if report.passed else "wrong": 1}
    elif kind == "fault" and report.failed and silent:  # it failed before it noted anything
        yield function, {"wrong": 1}


def table(totals):
    rows = [(fault, totals[fault]) for fault in sorted(totals)]
    rows.append(("all", sum(totals.values(), Counter())))
    width = max(len(fault) for fault, _ in rows)
    yield f"{'fault':{width}}  {'tried':>9}" + "".join(f"{name:>11}" for name in COLUMNS)
    for fault, outcomes in rows:
        counts = [outcomes[name] for name in COLUMNS]
        yield f"{fault:{width}}  {sum(counts):9,}" + "".join(f"{count:11,}" for count in counts)
