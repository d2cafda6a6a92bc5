"""Hold every locked dependency against databases of known vulnerabilities: `make audit`.

A tool that reaches no database has found nothing, and says so with the status of success: `pip-audit` skips what the index
does not know, `npm audit` prints an error. So what counts is what was *judged*, package by package, against what is locked.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[1]
LOCKS: Final = (".ci/requirements.txt", ".ci/audit.txt", "layers/dependencies/requirements.txt")
"""What developers install, what audits, and what functions import."""
SOURCES: Final = ("pypi", "osv", "esms")
"""Databases that `pip-audit` can ask, in this order, until one has judged everything."""
_SHOWN: Final = 8
_TIMEOUT_S: Final = 300
"""Of one run: a hundred packages take some twenty seconds."""


class Verdict(IntEnum):
    """What came of an audit; the value is the exit status of the program."""

    CLEAN = 0
    FINDINGS = 1
    NOT_AUDITED = 3
    """Something was not judged, because no database was reached. This is no pass. (2 is wrong usage, as everywhere.)"""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one run judged."""

    judged: frozenset[str] = frozenset()
    findings: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    """Why something was not judged, in the tool's own words."""


def locked(text: str) -> frozenset[str]:
    """Give the packages of a lock file that are installed on this machine, by their canonical names."""
    found = set()
    for line in text.splitlines():
        if not line or line.startswith((" ", "#")):
            continue
        try:
            requirement = Requirement(line.rstrip(" \\"))
        except InvalidRequirement as error:
            raise ValueError(f"{line!r} is no line of a lock file") from error
        if requirement.marker is None or requirement.marker.evaluate():
            found.add(canonicalize_name(requirement.name))
    return frozenset(found)


def of_pip_audit(output: str, errors: str) -> Report:
    """Read what `pip-audit --format json` wrote, whatever its exit status was."""
    try:
        rows: list[dict[str, Any]] = list(json.loads(output)["dependencies"])
    except (ValueError, KeyError, TypeError):
        return Report(causes=(_last(errors),))
    judged = [row for row in rows if "skip_reason" not in row]
    return Report(
        judged=frozenset(canonicalize_name(row["name"]) for row in judged),
        findings=tuple(
            f"{row['name']} {row['version']}: {fault['id']}, {_fixed(fault['fix_versions'])}"
            for row in judged
            for fault in row["vulns"]
        ),
        causes=tuple(row["skip_reason"] for row in rows if "skip_reason" in row),
    )


def of_npm_audit(output: str, errors: str) -> Report:
    """Read what `npm audit --json` wrote about a folder, whatever its exit status was."""
    try:
        document: dict[str, Any] = json.loads(output)
        if "message" in document:  # as instead of a report, when the registry refuses
            return Report(causes=(str(document["message"]),))
        total, faults = document["metadata"]["dependencies"]["total"], document["vulnerabilities"]
    except (ValueError, KeyError, TypeError):
        return Report(causes=(_last(errors),))
    # npm names the packages with findings alone; that it read the tree shows in its count.
    return Report(
        judged=frozenset({"aws-cdk"} if total else ()),
        findings=tuple(f"{name}: {row['severity']}, versions {row['range'] or 'all'}" for name, row in faults.items()),
    )


def verdict(wanted: frozenset[str], reports: Sequence[Report]) -> tuple[Verdict, list[str]]:
    """Judge what all sources said of one lock; give the lines to print too."""
    missing = sorted(wanted - frozenset[str]().union(*(report.judged for report in reports)))
    findings = sorted({line for report in reports for line in report.findings})
    lines = [f"  {line}" for line in findings]
    if missing or not wanted:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        lines += [f"  not audited: {', '.join(missing[:_SHOWN]) or 'nothing is locked'}{more}"]
        lines += [f"  because: {report.causes[0]}" for report in reports if report.causes]
    if findings:
        return Verdict.FINDINGS, lines
    return (Verdict.NOT_AUDITED, lines) if missing or not wanted else (Verdict.CLEAN, lines)


def main(arguments: Sequence[str]) -> int:
    """Audit everything, print what came of it, and give the exit status.

    Args:
        arguments: the program `pip-audit`, and the folder into which the CDK command was installed.
    """
    if len(arguments) != len(("pip-audit", "folder")):
        sys.stderr.write("usage: python -m infra.audit PIP_AUDIT CDK_FOLDER\n")
        return 2
    program, folder = arguments
    found = [_told(lock, locked((ROOT / lock).read_text(encoding="utf-8")), _python(program, lock)) for lock in LOCKS]
    found.append(_told("aws-cdk", frozenset({"aws-cdk"}), [_npm(folder)]))
    if Verdict.FINDINGS in found:
        sys.stdout.write("audit: FINDINGS. Take a fixed version: its bound in pyproject.toml or *.in, then make lock.\n")
        return Verdict.FINDINGS
    if Verdict.NOT_AUDITED in found:
        sys.stdout.write(
            "audit: NOT AUDITED, which is no pass. Run it where the JSON interface of PyPI, OSV or Ecosyste.ms, and npm's audit"
            " can be reached.\n"
        )
        return Verdict.NOT_AUDITED
    sys.stdout.write("audit: clean.\n")
    return Verdict.CLEAN


def _told(name: str, wanted: frozenset[str], reports: Sequence[Report]) -> Verdict:
    came, lines = verdict(wanted, reports)
    sys.stdout.write("\n".join([f"{name}: {len(wanted)} packages, {came.name.lower().replace('_', ' ')}", *lines]) + "\n")
    return came


def _python(program: str, lock: str) -> list[Report]:
    reports: list[Report] = []
    wanted = locked((ROOT / lock).read_text(encoding="utf-8"))
    for source in SOURCES:
        sys.stderr.write(f"audit: asking {source} about {lock}\n")
        options = ("--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json", "--timeout", "15")
        report = of_pip_audit(*_run((program, *options, "-s", source, "-r", lock)))
        reports.append(report)
        if wanted <= report.judged:
            break
    return reports


def _npm(folder: str) -> Report:
    sys.stderr.write("audit: asking npm about aws-cdk\n")
    return of_npm_audit(*_run(("npm", "audit", "--json", "--prefix", folder)))


def _run(command: Sequence[str]) -> tuple[str, str]:
    """Run a program; its exit status is left aside on purpose."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    return done.stdout, done.stderr


def _fixed(versions: Sequence[str]) -> str:
    return f"fixed in {', '.join(versions)}" if versions else "no fixed version"


def _last(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else "the tool said nothing"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
