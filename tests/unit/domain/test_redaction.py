"""Secrets are taken out of what people read, and harmless sentences stay whole."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_controller.domain.redaction import (
    ITEMS_LIMIT,
    REDACTED,
    TEXT_LIMIT,
    TRACE_LIMIT,
    fit_to_log,
    redacted,
)

SECRET = "hunter2Hunter2"  # noqa: S105  # looks like one, on purpose

PIECES = [
    "password",
    "token",
    "--db-secret",
    "=",
    ": ",
    " ",
    '"',
    "'",
    "Bearer ",
    "://",
    "@",
    "]",
    "[redacted]",
    "abcdefgh",
    ",",
]


@pytest.mark.parametrize(
    "text",
    [
        f"password={SECRET}",
        f'{{"db.password": "{SECRET}", "user": "etl"}}',
        f"sasl.jaas.config: x required username='u' password='{SECRET}';",
        f"Authorization: Bearer {SECRET}",
        f"authorization: Basic {SECRET}==",
        f"the header was Bearer {SECRET}",
        f"token={SECRET}&x=1",
        f"s3.secret-key: {SECRET}",
        f"fs.azure.account.key={SECRET}",
        f"aws_secret_access_key = {SECRET}",
        f"jdbc:postgresql://etl:{SECRET}@db/x",
        f"--db-password {SECRET} --env prod",
        f'["--api-token", "{SECRET}"]',
        f"-----BEGIN EC PRIVATE KEY-----\n{SECRET}\n-----END EC PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
        f"https://x.s3.amazonaws.com/k?X-Amz-Signature={SECRET}&X-Amz-Date=1",
        f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{SECRET}",
    ],
)
def test_what_looks_like_a_secret_is_taken_out(text: str) -> None:
    clean = redacted(text)

    assert SECRET not in clean
    assert REDACTED in clean


def test_the_name_of_an_access_key_is_taken_out() -> None:
    assert redacted("denied to AKIAIOSFODNN7EXAMPLE") == f"denied to {REDACTED}"


@pytest.mark.parametrize(
    "text",
    [
        "line 3, column 7: unexpected token: FROM",
        "the basic idea of a secret signature is that the key is private",
        "KeyUnknown: key release-2026 is not registered",
        "artifacts/etl.jar sha256:0123456789ab",
        "http://flink.internal:8081/jobs/overview answered 503",
        "org.apache.kafka.common.errors.TimeoutException: Topic orders not present in metadata after 60000 ms.",
    ],
)
def test_harmless_sentences_stay_whole(text: str) -> None:
    assert redacted(text) == text


def test_fields_that_carry_arguments_or_secrets_are_hidden_whatever_they_hold() -> None:
    found = fit_to_log(
        {"args": ["--x", "y"], "flink": {"env_vars": {"A": "b"}, "client_secret": 7, "password": None}, "token": True}
    )

    assert found == {
        "args": REDACTED,
        "flink": {"env_vars": REDACTED, "client_secret": REDACTED, "password": None},
        "token": True,
    }


def test_a_line_is_bounded_in_text_items_and_depth() -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]

    found = fit_to_log({"text": "x" * 10**6, "list": [1] * 10**4, "deep": deep, "big": 10**100, "odd": float("nan")})

    assert len(found["text"]) == TEXT_LIMIT
    assert len(found["list"]) == ITEMS_LIMIT
    assert len(json.dumps(found, allow_nan=False)) < 4 * TEXT_LIMIT


def test_of_a_stack_trace_the_end_is_kept() -> None:
    found = fit_to_log({"exception": "frame\n" * 10_000 + "ValueError: password=abcdefgh"})

    assert len(found["exception"]) <= TRACE_LIMIT
    assert found["exception"].endswith(f"ValueError: password={REDACTED}")


@settings(max_examples=200, derandomize=True, deadline=None)
@given(text=st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join))
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "unit", ["password=", "a:", "://a", "--token-", "eyJ", "Bearer ", "'\\", '"', "-----BEGIN PRIVATE KEY-----"]
)
def test_no_text_takes_long(unit: str) -> None:
    # Of a rule that backtracks in the square of its input, this would take minutes; the suite's time-out would tell.
    assert len(fit_to_log({"text": unit * 100_000})["text"]) <= TEXT_LIMIT
