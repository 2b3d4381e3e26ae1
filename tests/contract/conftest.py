"""The contract tests talk to the same house as the doors' own tests."""

from tests.deployments.conftest import app, apps, client, default, house, packages

__all__ = ["app", "apps", "client", "default", "house", "packages"]
