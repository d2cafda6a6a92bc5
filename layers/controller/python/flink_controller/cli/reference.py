"""The reference of the command line, made from its own help: `python -m flink_controller.cli.reference > docs/cli.md`.

A test compares the file with what this prints, so the document cannot drift from the program.
"""

import sys
from collections.abc import Iterator
from typing import Any, Final

import typer
from typer.testing import CliRunner

from flink_controller.cli.main import app

_WIDTH: Final = 100
_INTRODUCTION: Final = """\
# The command line

`flinkctl` writes spec items, uploads artifacts and reads what the controller records; it changes nothing on Flink itself.
Everything a team does with it is a conditional write of spec fields, so a program can do the same with a put.

This page is made from the program's own help (`python -m flink_controller.cli.reference > docs/cli.md`).

## Where it works

The environment says which installation is meant. A local stack writes it to a file: `source .local/env`. Elsewhere export
the stack's outputs:

| variable | is |
| --- | --- |
| `FLINKCTL_ARTIFACT_BUCKET_NAME` | output `ArtifactBucketName` |
| `FLINKCTL_JOB_SPEC_TABLE_NAME` | output `JobSpecTableName` |
| `FLINKCTL_CONTROLLER_STATE_TABLE_NAME` | output `ControllerStateTableName` |
| `FLINKCTL_FOLLOW_UP_QUEUE_URL` | output `FollowUpQueueUrl` |
| `FLINKCTL_FOLLOW_UP_FAILURES_QUEUE_URL` | output `FollowUpFailuresQueueUrl`; for `redrive`, as the next three |
| `FLINKCTL_STREAM_FAILURES_QUEUE_URL` | output `StreamFailuresQueueUrl` |
| `FLINKCTL_INVOCATION_FAILURES_QUEUE_URL` | output `InvocationFailuresQueueUrl` |
| `FLINKCTL_EVENT_FAILURES_QUEUE_URL` | output `EventFailuresQueueUrl` |
| `FLINKCTL_EVENT_BUS_NAME` | output `EventBusName`; for `redrive events`, as the next |
| `FLINKCTL_ALERT_TOPIC_ARN` | output `AlertTopicArn` |
| `FLINKCTL_CONTROLLER_ID` | `controller_id` of the environment in `cdk.json` |
| `FLINKCTL_ENVIRONMENT` | `local`, `dev` or `prod`; `dev` without it |
| `FLINKCTL_NAMESPACE_BUCKETS` | `namespace_buckets` of the environment in `cdk.json`, as `NAMESPACE=BUCKET,…`; where there are any |
| `FLINKCTL_STATE_BUCKETS` | `state_buckets` of the environment in `cdk.json`; for `cluster add`, `cluster check` and `savepoint list --storage` |
| `FLINKCTL_SIGNING_KEY` | file of the private key that `artifact push` and `artifact sign` use; optional |

Region, credentials and endpoint are AWS's own: `AWS_DEFAULT_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL`, …. Teams need to read and
write the spec table, to read the state table, and to read and put objects under their prefix of the artifact bucket; operators
also write the items `CLUSTER#…`, `KEY#…` and `PAUSE#…` of the state table. `validate` needs nothing at all.

## Exit status

| status | means |
| --- | --- |
| 0 | done |
| 1 | refused, failed, or not there |
| 2 | wrong usage |
| 3 | timed out |

Results go to stdout; progress, warnings and faults to stderr. `-o json` and `-o yaml` print the same as the table, for
programs: lists are `{"items": […]}`, times ISO 8601 in UTC.
"""


def reference() -> str:
    """Write the whole page."""
    return "\n".join([_INTRODUCTION, *(_section(words) for words in commands())])


def commands() -> list[str]:
    """List every command as it is typed after the program's name."""
    return [" ".join(words) for words in _walk(typer.main.get_command(app), ())]


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words
        return
    for name, found in inner.items():
        yield from _walk(found, (*words, name))


def _section(words: str) -> str:
    told = CliRunner().invoke(
        app, [*words.split(), "--help"], prog_name="flinkctl", terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    return f"## flinkctl {words}\n\n```text\n{told.stdout.strip()}\n```\n"


def main() -> None:
    """Print the page."""
    sys.stdout.write(reference())


if __name__ == "__main__":
    main()
