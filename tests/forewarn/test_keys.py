import stat
from datetime import UTC, datetime

import pytest

from forewarn import keys
from forewarn.databases import written
from forewarn.errors import CannotStart, NotAllowed, NotAuthenticated
from forewarn.keys import INSTALLATION, KeyRing
from forewarn.ledger import notices
from forewarn.ledger.doors import installation_key
from forewarn.ledger.store import Ledger
from forewarn.settings import Settings

NOW = written(datetime.now(UTC))


def ring(settings: Settings) -> KeyRing:
    found = notices.read(Ledger.open(settings))
    assert found
    return KeyRing(found.keys)


def test_the_installations_key_stays_the_same_and_opens(settings: Settings) -> None:
    key = installation_key(settings)
    assert installation_key(settings) == key
    assert ring(settings).check(key, at=NOW).name == INSTALLATION


def test_keys_are_kept_as_hashes_and_for_the_owner_alone(settings: Settings) -> None:
    key = installation_key(settings)
    for path in settings.home.rglob("*"):
        if path.is_file() and path != settings.local_key:
            assert key.encode() not in path.read_bytes(), path
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_key_that_was_put_in_the_file_by_hand_counts(settings: Settings) -> None:
    installation_key(settings)
    settings.local_key.write_text("fw_mine-0123456789abcdef\n")
    assert installation_key(settings) == "fw_mine-0123456789abcdef"
    assert ring(settings).check("fw_mine-0123456789abcdef", at=NOW).name == INSTALLATION


@pytest.mark.requirement("S3-10")
def test_a_key_from_the_environment_goes_before_one_that_was_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = "a-key-of-the-operators-own"
    monkeypatch.setenv("FOREWARN_API_KEY", given)
    assert installation_key(Settings(home=settings.home)) == given
    assert ring(settings).check(given, at=NOW).name == INSTALLATION
    assert not settings.local_key.exists()
    with pytest.raises(CannotStart, match="can be guessed"):
        keys.local(settings.local_key, given="admin")


@pytest.mark.requirement("C4")
@pytest.mark.parametrize(("sent", "kind"), [(None, NotAuthenticated), ("", NotAuthenticated), ("fw_no", NotAllowed)])
def test_no_key_and_a_wrong_key_are_told_apart(settings: Settings, sent: str | None, kind: type[Exception]) -> None:
    installation_key(settings)
    with pytest.raises(kind):
        ring(settings).check(sent, at=NOW)


def test_an_installation_without_keys_lets_nobody_in() -> None:
    with pytest.raises(NotAllowed):
        KeyRing(()).check("fw_anything", at=NOW)
