"""Use-cases, one verb a module. They know ports and the domain, never a technology."""
