"""What an audit's tools say is judged by what they judged, and never by how they ended.

`recorded/` holds what pip-audit 2.10 and npm 11 wrote: asked where no database was reached (both said nothing of it by their
status or their last line alone), and asked of a database on loopback that knew one vulnerability, or none.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from infra.audit import LOCKS, ROOT, Report, Verdict, locked, main, of_npm_audit, of_pip_audit, verdict

RECORDED = Path(__file__).parent / "recorded"
TWO = frozenset({"certifi", "idna"})
CDK = frozenset({"aws-cdk"})


@pytest.mark.parametrize(
    ("name", "read", "wanted", "expected"),
    [
        ("pip-clean", of_pip_audit, TWO, Verdict.CLEAN),
        ("pip-findings", of_pip_audit, TWO, Verdict.FINDINGS),
        ("pip-unreachable", of_pip_audit, TWO, Verdict.NOT_AUDITED),
        ("npm-clean", of_npm_audit, CDK, Verdict.CLEAN),
        ("npm-findings", of_npm_audit, CDK, Verdict.FINDINGS),
        ("npm-unreachable", of_npm_audit, CDK, Verdict.NOT_AUDITED),
    ],
)
def test_an_audit_is_judged_by_what_was_judged(
    name: str, read: Callable[[str, str], Report], wanted: frozenset[str], expected: Verdict
) -> None:
    report = read((RECORDED / f"{name}.json").read_text(), "")

    assert verdict(wanted, [report])[0] is expected


def test_a_finding_names_package_vulnerability_and_remedy() -> None:
    _, lines = verdict(TWO, [of_pip_audit((RECORDED / "pip-findings.json").read_text(), "")])

    assert lines == ["  certifi 2026.10.18: PYSEC-2024-230, fixed in 2030.1.1"]


def test_a_package_that_was_left_out_is_not_audited() -> None:
    report = of_pip_audit((RECORDED / "pip-clean.json").read_text(), "")

    came, lines = verdict(TWO | {"six"}, [report])

    assert (came, lines) == (Verdict.NOT_AUDITED, ["  not audited: six"])


def test_what_one_source_does_not_judge_another_may() -> None:
    unreachable, clean = (of_pip_audit((RECORDED / f"pip-{name}.json").read_text(), "") for name in ("unreachable", "clean"))

    assert verdict(TWO, [unreachable, clean])[0] is Verdict.CLEAN


def test_a_finding_counts_whatever_else_was_not_judged() -> None:
    found = of_pip_audit((RECORDED / "pip-findings.json").read_text(), "")

    assert verdict(TWO | {"six"}, [found])[0] is Verdict.FINDINGS


@pytest.mark.parametrize("output", ["", "null", "[]", "{", '{"dependencies": 1}', '{"message": "405 Method Not Allowed"}'])
@pytest.mark.parametrize("read", [of_pip_audit, of_npm_audit])
def test_what_is_no_report_is_no_pass(read: Callable[[str, str], Report], output: str) -> None:
    came, lines = verdict(TWO, [read(output, "no route\nto host")])

    assert came is Verdict.NOT_AUDITED
    assert lines[-1] in {"  because: to host", "  because: 405 Method Not Allowed"}


def test_an_empty_lock_is_no_pass() -> None:
    assert verdict(frozenset(), [])[0] is Verdict.NOT_AUDITED


def test_every_lock_is_read_as_far_as_it_is_for_this_machine() -> None:
    for lock in LOCKS:
        assert len(locked((ROOT / lock).read_text())) > 20, lock

    assert locked("one==1 ; sys_platform == 'no such' \\\n    --hash=sha256:0\nTwo_x==2 \\\n") == {"two-x"}


def test_wrong_usage_is_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_a_tool_that_is_not_there_is_no_pass(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert main([str(tmp_path / "no-pip-audit"), str(tmp_path)]) == Verdict.NOT_AUDITED

    assert "NOT AUDITED, which is no pass" in capsys.readouterr().out
