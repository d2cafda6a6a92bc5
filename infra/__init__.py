"""The CDK application and the local stack."""
