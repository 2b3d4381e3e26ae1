"""How often a replica looks for garbage."""

import gc

# Objects made and not yet freed before Python looks for cycles among the newest. Its own 700 are a dozen requests that
# wait, and looking took 8 % of the ingress replica's time.
THRESHOLD = 20_000


def relax() -> None:
    """For the process: look less often. Ray Serve has set aside what was there when the replica stood up."""
    gc.set_threshold(THRESHOLD)
