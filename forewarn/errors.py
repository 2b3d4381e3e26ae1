"""What can go wrong, as one tree. Each error is one sentence: what, which one, what to do.

    ForewarnError                 500
    ├── BadInput                  400   the request or file cannot be read as what it should be
    │   ├── MissingField          400   a required field is not there
    │   └── QualityRefused        400   a table is not good enough to learn from
    ├── RowRejected               422   a field has the wrong type or lies outside its range
    ├── NotAuthenticated          401   no key
    ├── NotAllowed                403   a wrong key, or somebody who may not do this
    ├── NotFound                  404   no such use case, version or route
    ├── TooLarge                  413   more rows or bytes than one request may carry
    ├── Overloaded                503   the queue is full; try again soon
    ├── NotReady                  503   no model that could answer
    ├── StoreUnavailable          503   the feature store does not answer
    ├── LedgerUnavailable         503   the ledger's database does not answer
    ├── NotRecorded               503   an answer could not be written down, so it was not given
    ├── OptedOut                  403   this person wants not to be scored
    ├── QuotaExceeded             429   this key has asked as often as it may for now
    ├── ClusterUnavailable        503   the cluster that jobs run on does not answer
    ├── NotFinished               409   a job's result was asked for before there is one, or there is none
    ├── VersionTaken              409   a version of that name is there, with other content
    ├── PackageDamaged            500   a model package does not verify
    ├── StateDamaged              500   a state file of this installation cannot be read
    └── CannotStart               500   this machine or installation is not ready for what was asked

Errors cross processes by pickle, which calls `cls(*args)`: so no custom `__init__`, the message alone.
`status` is the HTTP status that the ingress answers with.
"""

from typing import ClassVar


class ForewarnError(Exception):
    """Anything Forewarn says no to."""

    status: ClassVar[int] = 500


class BadInput(ForewarnError):
    """The request or file cannot be read as what it should be."""

    status = 400


class MissingField(BadInput):
    """A required field is not there."""


class QualityRefused(BadInput):
    """A table is not good enough to learn from."""


class RowRejected(ForewarnError):
    """A field has the wrong type or lies outside its range."""

    status = 422


class NotAuthenticated(ForewarnError):
    """The request carries no key."""

    status = 401


class NotAllowed(ForewarnError):
    """The key is not one of this installation's, or whoever asks may not do this."""

    status = 403


class NotFound(ForewarnError):
    """No such use case, version or route."""

    status = 404


class TooLarge(ForewarnError):
    """More rows or bytes than one request may carry."""

    status = 413


class Overloaded(ForewarnError):
    """More is waiting than can be answered in time."""

    status = 503


class NotReady(ForewarnError):
    """There is no model that could answer."""

    status = 503


class StoreUnavailable(ForewarnError):
    """The feature store does not answer."""

    status = 503


class LedgerUnavailable(ForewarnError):
    """The ledger's database does not answer."""

    status = 503


class NotRecorded(ForewarnError):
    """An answer could not be written down, so it was not given."""

    status = 503


class OptedOut(ForewarnError):
    """The subject of this row has opted out."""

    status = 403


class QuotaExceeded(ForewarnError):
    """This key has asked as often as it may for now. How often that is a minute, and when to ask again."""

    status = 429
    limit: int = 0
    wait_s: float = 1.0


class ClusterUnavailable(ForewarnError):
    """The cluster that jobs run on does not answer."""

    status = 503


class NotFinished(ForewarnError):
    """A job's result is asked for, and the job is not done."""

    status = 409


class VersionTaken(ForewarnError):
    """A version of that name is there already, with other content."""

    status = 409


class StateDamaged(ForewarnError):
    """A state file of this installation cannot be read."""


class PackageDamaged(ForewarnError):
    """A model package does not verify against its own checksums or smoke rows."""


class CannotStart(ForewarnError):
    """This machine or installation is not ready for what was asked."""
