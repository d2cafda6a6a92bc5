"""flinkctl, the command line for teams and operators. Not part of the deployed layer."""
