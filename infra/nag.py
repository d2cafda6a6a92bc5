"""Findings of cdk-nag that stay, each on one construct and with its reason."""
