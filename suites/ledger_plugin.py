"""Tells `cargo xtask suites` what pytest found: one JSON object a line in the file LEDGER_RESULTS."""

import json
import os
import signal


def pytest_configure():
    # Whoever tells the suite to end wants it to take away what its tests have made.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_runtest_logreport(report):
    # `wasxfail` without a failure means that the suite expects this test to fail.
    if hasattr(report, "wasxfail"):
        outcome, why = "skipped", f"the suite expects it to fail: {report.wasxfail}".strip(": ")
    else:
        outcome, why = report.outcome, _why(report)
    _write(report.nodeid, report.when, outcome, why)


def pytest_collectreport(report):
    if report.failed:
        _write(report.nodeid, "collect", "failed", str(report.longrepr))


def _why(report):
    if report.outcome == "skipped":
        return report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else ""
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message if crash else str(report.longrepr or "")


def _write(test, phase, outcome, why):
    with open(os.environ["LEDGER_RESULTS"], "a", encoding="utf-8") as results:
        results.write(json.dumps({"test": test, "phase": phase, "outcome": outcome, "why": why}) + "\n")
