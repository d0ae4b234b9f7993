"""A plugin of pytest for `make torture`: prints what became of each fault, added up over all tests and processes."""

from collections import Counter

COLUMNS = ["refused", "the same", "wrong"]


def pytest_terminal_summary(terminalreporter):
    totals = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call":
                for name, value in report.user_properties:
                    if name == "fault":
                        totals.setdefault(value[0], Counter()).update(value[1])
    if not totals:
        return
    width = max(map(len, totals))
    terminalreporter.section("the fault matrix")
    terminalreporter.write_line(f"{'fault':{width}}  {'tried':>7}" + "".join(f"{name:>10}" for name in COLUMNS))
    for fault, outcomes in sorted(totals.items()):
        counts = [outcomes[name] for name in COLUMNS]
        terminalreporter.write_line(f"{fault:{width}}  {sum(counts):7,}" + "".join(f"{count:10,}" for count in counts))
