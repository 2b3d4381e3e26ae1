"""Which versions may serve, which of them answers whom, and what is to become of a new one."""

from forewarn.releases.roles import ReleaseState
from forewarn.releases.store import STATE, Releases

__all__ = ["STATE", "ReleaseState", "Releases"]
