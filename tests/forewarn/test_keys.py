import stat

import pytest

from forewarn.errors import CannotStart, NotAllowed, NotAuthenticated
from forewarn.keys import KeyRing, installation_key
from forewarn.settings import Settings


def test_the_installations_key_stays_the_same_and_opens(settings: Settings) -> None:
    key = installation_key(settings.keys, settings.local_key)
    assert installation_key(settings.keys, settings.local_key) == key
    assert KeyRing.load(settings.keys).check(key) == "installation"


def test_keys_are_kept_as_hashes_and_for_the_owner_alone(settings: Settings) -> None:
    key = installation_key(settings.keys, settings.local_key)
    assert key not in settings.keys.read_text()
    for path in (settings.keys, settings.local_key):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_that_was_put_in_the_file_by_hand_counts(settings: Settings) -> None:
    installation_key(settings.keys, settings.local_key)
    settings.local_key.write_text("fw_mine-0123456789abcdef\n")
    assert installation_key(settings.keys, settings.local_key) == "fw_mine-0123456789abcdef"
    assert KeyRing.load(settings.keys).check("fw_mine-0123456789abcdef") == "installation"


@pytest.mark.requirement("S3-10")
def test_a_key_from_the_environment_goes_before_one_that_was_made(settings: Settings) -> None:
    given = "a-key-of-the-operators-own"
    assert installation_key(settings.keys, settings.local_key, given=given) == given
    assert KeyRing.load(settings.keys).check(given) == "installation"
    assert not settings.local_key.exists()
    with pytest.raises(CannotStart, match="can be guessed"):
        installation_key(settings.keys, settings.local_key, given="admin")


@pytest.mark.requirement("C4")
@pytest.mark.parametrize(("sent", "kind"), [(None, NotAuthenticated), ("", NotAuthenticated), ("fw_no", NotAllowed)])
def test_no_key_and_a_wrong_key_are_told_apart(settings: Settings, sent: str | None, kind: type[Exception]) -> None:
    installation_key(settings.keys, settings.local_key)
    with pytest.raises(kind):
        KeyRing.load(settings.keys).check(sent)


def test_an_installation_without_keys_lets_nobody_in(settings: Settings) -> None:
    with pytest.raises(NotAllowed):
        KeyRing.load(settings.keys).check("fw_anything")
