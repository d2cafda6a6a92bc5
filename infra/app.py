"""The CDK app's entry point, and the only reader of its context.

Run by the CDK's command line as `cdk.json` says: `cdk synth -c environment=prod`.
"""

import sys

import aws_cdk as cdk
from aws_cdk import Validations
from cdk_nag import AwsSolutionsChecks, ServerlessChecks

from infra.config import ConfigError, DeploymentConfig
from infra.stack import FlinkJobControllerStack


def build(app: cdk.App) -> FlinkJobControllerStack:
    """Declare the deployment that the app's context selects.

    Raises:
        ConfigError: the context selects or holds an unusable configuration.
    """
    config = DeploymentConfig.from_context(app.node.get_all_context())
    stack = FlinkJobControllerStack(app, config)
    if not config.is_local:
        # A laptop runs its own interpreter, which need not be the newest that Lambda offers.
        Validations.of(app).add_plugins(AwsSolutionsChecks(app), ServerlessChecks(app))
    return stack


def main() -> None:
    """Synthesize, or say in one message why the configuration cannot be."""
    app = cdk.App()
    try:
        build(app)
    except ConfigError as error:
        sys.exit(str(error))
    app.synth()


if __name__ == "__main__":
    main()
