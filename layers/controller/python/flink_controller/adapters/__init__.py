"""One module per outside thing; each names the IAM actions that it needs."""
