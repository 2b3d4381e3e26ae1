"""The feature store, on SQLite and on real servers: what was known of whom, and when."""

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from forewarn import entities, entity_table, ids, scoring, usecases
from forewarn.entities import EntityRow
from forewarn.errors import BadInput, CannotStart, StateDamaged, StoreUnavailable
from forewarn.feature_store import FeatureStore, Holding, fill, gaps
from forewarn.settings import Settings
from forewarn.usecase import UseCase

pytest_plugins = ["tests.servers"]

DAY = timedelta(days=1)
NOON = datetime(2026, 10, 1, 12, tzinfo=UTC)
CHURN = usecases.get("churn")


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def store(request: pytest.FixtureRequest, settings: Settings) -> Iterator[FeatureStore]:
    if request.param != "sqlite":
        uri = request.getfixturevalue({"postgresql": "postgres_uri", "mysql": "mysql_uri"}[request.param])
        settings = settings.model_copy(update={"features_uri": uri})
    opened = FeatureStore.open(settings)
    yield opened
    if request.param != "sqlite":
        entity_table.TABLE.drop(opened._engine, checkfirst=True)
    opened.close()


@pytest.fixture
def local(settings: Settings) -> Iterator[FeatureStore]:
    opened = FeatureStore.open(settings)
    yield opened
    opened.close()


def row(subject: str | int = "C1", **fields: Any) -> EntityRow:
    return EntityRow(subject=str(subject), fields=fields or {"tenure_months": 3})


def put(store: FeatureStore, subject: str, at: datetime, **fields: Any) -> None:
    store.put(CHURN, [row(subject, **fields)], valid_from=at, loaded_at=NOON)


def fields_of(found: Any) -> list[Any]:
    return [one and one.fields for one in found]


@contextmanager
def statements(store: FeatureStore) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    sa.event.listen(store._engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(store._engine, "before_cursor_execute", note)


def test_what_was_known_then_is_what_is_answered(store: FeatureStore) -> None:
    for place, months in enumerate((3, 4, 5)):
        put(store, "C1", NOON + place * DAY, tenure_months=months)
    asked = [NOON - DAY, NOON, NOON + DAY - timedelta(microseconds=1), NOON + DAY, NOON + 90 * DAY]
    known = [None, {"tenure_months": 3}, {"tenure_months": 3}, {"tenure_months": 4}, {"tenure_months": 5}]
    assert fields_of(store.as_of(CHURN, [("C1", at) for at in asked])) == known
    assert fields_of(store.latest(CHURN, ["C1"], at=at).get("C1") for at in asked) == known
    assert store.latest(CHURN, ["C1"])["C1"].valid_from == NOON + 2 * DAY


def test_storing_the_same_again_changes_nothing(store: FeatureStore) -> None:
    rows = [row(f"C{n}", tenure_months=n) for n in range(2500)]
    since = [NOON + n * timedelta(seconds=1) for n in range(2500)]
    for _ in range(2):
        assert store.put(CHURN, rows, valid_from=since, loaded_at=NOON) == 2500
        assert store.describe(CHURN) == Holding(entities=2500, rows=2500, newest=since[-1])
    found = store.latest(CHURN, [f"C{n}" for n in range(2500)])
    assert [found[f"C{n}"].fields["tenure_months"] for n in range(2500)] == list(range(2500))


def test_a_row_of_the_same_time_takes_the_place_of_the_one_before(store: FeatureStore) -> None:
    put(store, "C1", NOON, tenure_months=3, contract="One year")
    twice = [row("C1", tenure_months=4), row("C1", tenure_months=5)]
    assert store.put(CHURN, twice, valid_from=NOON, loaded_at=NOON) == 1
    assert store.latest(CHURN, ["C1"])["C1"].fields == {"tenure_months": 5}


def test_all_rows_are_stored_or_none(store: FeatureStore) -> None:
    put(store, "C1", NOON)
    # Rows are written in the order of their pseudonyms: the last one, in the second batch, cannot be written.
    subjects = sorted(map(str, range(1500)), key=lambda subject: store._key.pseudonym("churn", subject))
    rows = [row(subject) for subject in subjects[:-1]] + [row(subjects[-1], tenure_months=object())]
    with statements(store) as seen, pytest.raises(TypeError):
        store.put(CHURN, rows, valid_from=NOON + DAY, loaded_at=NOON)
    assert any(statement.startswith("INSERT") for statement in seen)
    assert store.describe(CHURN).rows == 1


def test_use_cases_do_not_see_each_other(store: FeatureStore) -> None:
    put(store, "7", NOON)
    attrition = usecases.get("attrition")
    assert store.latest(attrition, ["7"]) == {}
    assert store.as_of(attrition, [("7", NOON)]) == [None]
    assert store.describe(attrition) == Holding(entities=0, rows=0, newest=None)
    assert store.forget(attrition, "7") == 0


def test_forgetting_removes_every_row_of_one_subject(store: FeatureStore) -> None:
    for place in range(3):
        put(store, "C1", NOON + place * DAY)
        put(store, "C2", NOON + place * DAY)
    assert store.forget(CHURN, "C1") == 3
    assert store.forget(CHURN, "C1") == 0
    assert store.latest(CHURN, ["C1", "C2"]).keys() == {"C2"}


def test_a_number_and_its_text_are_one_subject(store: FeatureStore) -> None:
    put(store, "7", NOON)
    assert store.latest(CHURN, [7, "7", " 7 ", "07"]).keys() == {7, "7", " 7 "}


def test_a_batch_is_looked_up_in_one_statement(store: FeatureStore) -> None:
    store.put(CHURN, [row(n) for n in range(1000)], valid_from=NOON, loaded_at=NOON)
    raw = [{"customer_id": n} for n in range(1000)]
    assert not store.empty
    with statements(store) as seen:
        rows, filled = fill(CHURN, raw, store, NOON + DAY)
    assert len(seen) == 1
    assert all(rows[n] == {"customer_id": n, "tenure_months": 3} for n in range(1000))
    assert all(filled)


def test_a_store_that_holds_nothing_answers_so(store: FeatureStore) -> None:
    assert store.empty
    assert store.latest(CHURN, ["C1"]) == {}
    assert store.as_of(CHURN, [("C1", NOON)]) == [None]
    assert store.forget(CHURN, "C1") == 0
    assert store.describe(CHURN) == Holding(entities=0, rows=0, newest=None)
    put(store, "C1", NOON)
    assert not store.empty


@effort(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_as_of_is_what_a_naive_search_finds(store: FeatureStore, data: st.DataObject) -> None:
    subject, time = st.sampled_from("abc"), st.integers(0, 6).map(lambda hours: NOON + timedelta(hours=hours))
    history = data.draw(st.lists(st.tuples(subject, time), max_size=12))
    pairs = data.draw(st.lists(st.tuples(subject, time), max_size=12))
    for one in "abc":
        store.forget(CHURN, one)
    rows = [row(one, tenure_months=place) for place, (one, _) in enumerate(history)]
    store.put(CHURN, rows, valid_from=[at for _, at in history], loaded_at=NOON)

    def naive(subject: str, at: datetime) -> dict[str, int] | None:
        known = [(since, place) for place, (one, since) in enumerate(history) if one == subject and since <= at]
        return {"tenure_months": max(known)[1]} if known else None

    assert fields_of(store.as_of(CHURN, pairs)) == [naive(*pair) for pair in pairs]


def test_times_of_any_zone_are_one_time(local: FeatureStore) -> None:
    put(local, "C1", datetime.fromisoformat("2026-10-01T14:00:00+02:00"))
    put(local, "C2", NOON.replace(tzinfo=None))
    assert [found.valid_from for found in local.latest(CHURN, ["C1", "C2"]).values()] == [NOON, NOON]


def test_readers_do_not_wait_for_a_writer(settings: Settings, local: FeatureStore) -> None:
    rows, stop, wrong = [row(n, tenure_months=0) for n in range(200)], threading.Event(), []
    local.put(CHURN, rows, valid_from=NOON, loaded_at=NOON)

    def read() -> None:
        reader = FeatureStore.open(settings)
        while not stop.is_set():
            found = {one.fields["tenure_months"] for one in reader.latest(CHURN, range(200)).values()}
            if len(found) != 1:  # a refresh is seen whole or not at all
                wrong.append(found)
        reader.close()

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for version in range(1, 40):
        rows = [row(n, tenure_months=version) for n in range(200)]
        local.put(CHURN, rows, valid_from=NOON + version * DAY / 100, loaded_at=NOON)
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert local.describe(CHURN).rows == 40 * 200


@pytest.mark.requirement("S1-10")
def test_writers_at_once_all_get_their_rows_in(store: FeatureStore) -> None:
    put(store, "C0", NOON)  # PostgreSQL may refuse one of two that make the table at the same moment
    failed: list[Exception] = []

    def write(place: int) -> None:
        try:
            for version in range(5):
                rows = [row(n) for n in range(100)]
                store.put(CHURN, rows[:: 1 if place % 2 else -1], valid_from=NOON + version * DAY, loaded_at=NOON)
        except StoreUnavailable as error:
            failed.append(error)

    writers = [threading.Thread(target=write, args=(place,)) for place in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert failed == []
    assert store.describe(CHURN).rows == 500 + 1


@pytest.mark.requirement("S0-27")
@pytest.mark.requirement("C32")
def test_no_id_protected_field_or_label_is_on_the_disk(settings: Settings, local: FeatureStore, case: UseCase) -> None:
    key = case.spec[case.key].wire
    raw = [{**one, key: f"Q9X{place}Z"} for place, one in enumerate(case.sample(50, seed=1))]
    admitted = entities.admit(case, raw)
    assert len(admitted.rows) == 50
    local.put(case, list(admitted.rows.values()), valid_from=NOON, loaded_at=NOON)
    bytes_ = b"".join(file.read_bytes() for file in settings.home.rglob("*") if file.is_file())
    assert b"entity_features" in bytes_
    assert b"Q9X" not in bytes_
    left_out = {case.target, *(case.spec[name].wire for name in case.protected | case.occasion | {case.key})}
    for name in left_out:
        assert f'"{name}"'.encode() not in bytes_
    kept = {spec.wire for spec in entities.storable(case)}
    assert local.latest(case, ["Q9X7Z"])["Q9X7Z"].fields.keys() == kept & {
        name for name, v in raw[7].items() if v is not None
    }


def test_files_are_for_their_owner_alone(settings: Settings, local: FeatureStore) -> None:
    before = os.umask(0)
    try:
        put(local, "C1", NOON)
    finally:
        os.umask(before)
    files = [file for file in settings.home.rglob("*") if file.is_file()]
    assert {"features.db", "features.db-wal", "id_key"} <= {file.name for file in files}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_asking_an_installation_without_a_store_leaves_no_trace(settings: Settings, local: FeatureStore) -> None:
    assert fill(CHURN, [{"customer_id": "C1"}], local, NOON) == ([{"customer_id": "C1"}], [None])
    assert not settings.home.exists()


def test_whether_the_store_is_empty_is_looked_up_once_a_second(settings: Settings) -> None:
    now = [100.0]
    put(FeatureStore.open(settings), "C1", NOON)
    store = FeatureStore(settings.feature_store, settings.id_key, clock=lambda: now[0])
    assert not store.empty
    with statements(store) as seen:
        for now[0] in (100.1, 100.5, 100.9):
            assert not store.empty
        assert seen == []
        now[0] = 101.1
        assert not store.empty
        assert len(seen) == 1


def test_what_the_request_says_wins(local: FeatureStore) -> None:
    put(local, "C1", NOON, tenure_months=3, monthly_charges=50.0, contract="One year", support_calls=2)
    sent = {"customerID": "C1", "tenure": 9, "MonthlyCharges": None, "contract": None, "further": 1}
    (filled,), (source,) = fill(CHURN, [sent], local, NOON + timedelta(hours=30))
    rows = scoring.validate(CHURN, [filled])
    assert {
        name: rows.values[0][name] for name in ("tenure_months", "monthly_charges", "contract", "support_calls")
    } == {
        "tenure_months": 9,
        "monthly_charges": 50.0,
        "contract": "One year",
        "support_calls": 2,
    }
    assert source
    assert sorted(source.fields) == ["contract", "monthly_charges", "support_calls"]
    assert (source.as_of, source.age_hours, source.stale) == ("2026-10-01T12:00:00Z", 30.0, False)
    assert sent == {"customerID": "C1", "tenure": 9, "MonthlyCharges": None, "contract": None, "further": 1}


@pytest.mark.requirement("S1-04")
@pytest.mark.parametrize(("hours", "stale"), [(0, False), (48, False), (48.1, True), (2000, True)])
def test_twice_the_refresh_interval_is_stale(local: FeatureStore, hours: float, stale: bool) -> None:
    put(local, "C1", NOON)
    _, (source,) = fill(CHURN, [{"customer_id": "C1"}], local, NOON + timedelta(hours=hours))
    assert source
    assert (source.stale, source.age_hours) == (stale, hours)


def test_rows_that_need_nothing_or_name_nobody_are_left_alone(local: FeatureStore) -> None:
    put(local, "C1", NOON)
    put(local, "True", NOON)
    whole = CHURN.sample(1, seed=1)[0] | {"customer_id": "C1"}
    raw = [whole, {}, {"customer_id": None}, {"customer_id": " "}, {"customer_id": True}, {"customer_id": ["C1"]}]
    raw += [{"customer_id": 10**5000}, {"customer_id": "\ud800"}, {"customer_id": "nobody"}, "C1", None, 7, ["C1"]]
    raw += [{"customer_id": "C1", "tenure_months": 1}]  # holds all that is stored
    rows, filled = fill(CHURN, raw, local, NOON + DAY)
    assert rows == raw
    assert filled == [None] * len(raw)


def test_a_row_that_holds_all_that_is_kept_asks_nothing(local: FeatureStore) -> None:
    put(local, "C1", NOON)
    assert not local.empty
    with statements(local) as seen:
        fill(CHURN, [CHURN.sample(1, seed=1)[0] | {"customer_id": "C1"}], local, NOON + DAY)
    assert seen == []


@pytest.mark.requirement("S1-10")
@pytest.mark.requirement("C20")
def test_an_id_alone_gives_the_model_what_the_whole_row_gave(local: FeatureStore, case: UseCase) -> None:
    raw = case.sample(50, seed=3)
    key = case.spec[case.key].wire
    raw = [{**one, key: f"S{place}"} for place, one in enumerate(raw)]
    admitted = entities.admit(case, raw)
    local.put(case, list(admitted.rows.values()), valid_from=NOON, loaded_at=NOON)
    occasion = {case.spec[name].wire for name in case.occasion}
    asked = [{name: value for name, value in one.items() if name in occasion | {key}} for one in raw]
    filled, sources = fill(case, asked, local, NOON)
    assert all(sources)
    inputs = [spec.name for spec in case.inputs]
    whole, found = scoring.validate(case, raw), scoring.validate(case, filled)
    assert [[r[name] for name in inputs] for r in found.values] == [[r[name] for name in inputs] for r in whole.values]


def test_rows_may_lack_any_field_but_not_hold_a_bad_one() -> None:
    raw = [
        {"customer_id": "C1", "tenure_months": "3"},
        {"customerID": 7.0, "MonthlyCharges": "9.5", "Churn": "Yes", "gender": "Female", "note": "x"},
        {"customer_id": "C3", "tenure_months": -1},
        {"customer_id": None, "tenure_months": 1},
        {"customer_id": "C5", "tenure_months": None, "gender": "Female"},
        {"customer_id": "C" * 65, "tenure_months": 1},
        {"customer_id": 7.5, "tenure_months": 1},
    ]
    found = entities.admit(CHURN, raw)
    assert {index: (one.subject, one.fields) for index, one in found.rows.items()} == {
        0: ("C1", {"tenure_months": 3}),
        1: ("7", {"monthly_charges": 9.5}),
    }
    assert found.nameless == [3, 6]
    assert found.invalid.keys() == {2, 4, 5}
    assert found.invalid[2].startswith("tenure_months: ")
    assert not any("C3" in reason or "CCC" in reason for reason in found.invalid.values())


def test_a_partial_use_case_reads_like_the_whole_one(case: UseCase) -> None:
    def seen(of: UseCase) -> list[Any]:
        return [(spec.name, spec.aliases, spec.kind, spec.levels, spec.low, spec.high) for spec in of.fields]

    assert seen(entities.partial(case)) == seen(case)
    assert not any(spec.required for spec in entities.partial(case).fields)
    assert scoring.validate(entities.partial(case), [{}]).values[0].keys() == case.spec.keys()


def test_a_server_that_does_not_answer_is_asked_again_after_a_while(settings: Settings) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    now = [0.0]
    uri = f"postgresql://reader:s3cret@127.0.0.1:{port}/features"
    store = FeatureStore(uri, settings.id_key, clock=lambda: now[0])
    with pytest.raises(StoreUnavailable, match="cannot be used") as raised:
        fill(CHURN, [{"customer_id": "C1"}], store, NOON)
    assert "s3cret" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
    with pytest.raises(StoreUnavailable, match="a moment ago"):
        store.latest(CHURN, ["C1"])
    now[0] = 5.1
    with pytest.raises(StoreUnavailable, match="cannot be used"):
        store.latest(CHURN, ["C1"])


@pytest.mark.parametrize(
    "uri", ["oracle://host/x", "features.db", "sqlite://", "sqlite:///:memory:", "://", "mysql://h:x/y"]
)
def test_an_address_of_no_store_is_one_sentence(settings: Settings, uri: str) -> None:
    with pytest.raises(CannotStart, match="FOREWARN_FEATURES_URI") as raised:
        FeatureStore.open(settings.model_copy(update={"features_uri": uri}))
    assert len(str(raised.value).splitlines()) == 1


def test_a_file_that_is_no_database_is_one_sentence(settings: Settings) -> None:
    settings.make_home()
    (settings.home / "features.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreUnavailable, match=r"features\.db: .*not a database"):
        FeatureStore.open(settings).latest(CHURN, ["C1"])


def test_the_secret_is_made_once_whoever_asks_first(tmp_path: Path) -> None:
    path, found = tmp_path / "secrets" / "id_key", []
    gate = threading.Barrier(8)

    def ask() -> None:
        gate.wait()
        found.append(ids.IdKey.open(path).pseudonym("churn", "C1"))

    asking = [threading.Thread(target=ask) for _ in range(8)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [file.name for file in path.parent.iterdir()] == ["id_key"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(found[0]) == 64


def test_pseudonyms_differ_by_use_case_subject_and_installation() -> None:
    one, other = ids.IdKey(b"1" * 32), ids.IdKey(b"2" * 32)
    told = [one.pseudonym("churn", "7"), one.pseudonym("attrition", "7"), one.pseudonym("churn", "8")]
    assert len({*told, other.pseudonym("churn", "7")}) == 4
    with pytest.raises(BadInput, match="an id is"):
        one.pseudonym("churn", " ")


@pytest.mark.parametrize("text", ["", "abc", "00" * 31, "zz" * 32])
def test_a_damaged_secret_is_not_replaced(tmp_path: Path, text: str) -> None:
    (tmp_path / "id_key").write_text(text)
    with pytest.raises(StateDamaged, match="restore it from a backup"):
        ids.IdKey.open(tmp_path / "id_key")
    assert (tmp_path / "id_key").read_text() == text


def test_only_a_row_that_names_a_subject_and_lacks_something_has_a_gap() -> None:
    """For the others the door asks no store."""
    whole = {name: value for name, value in CHURN.sample(1, seed=1)[0].items() if name != CHURN.target}
    nobody = {name: value for name, value in whole.items() if name not in CHURN.spec[CHURN.key].aliases}
    short = {name: value for name, value in whole.items() if name != "tenure_months"}
    found = gaps(CHURN, [whole, nobody, short, "no row", {}])
    assert found == {2: (whole["customer_id"], {"tenure_months"})}


@pytest.mark.requirement("C10")
def test_what_was_stored_under_an_older_secret_is_found_until_that_is_retired(
    store: FeatureStore, settings: Settings
) -> None:
    put(store, "C1", NOON, tenure_months=3)
    ids.rotate(settings.id_key)
    rotated = FeatureStore(store._engine.url.render_as_string(hide_password=False), settings.id_key)
    assert fields_of([rotated.latest(CHURN, ["C1"])["C1"]]) == [{"tenure_months": 3}]
    put(rotated, "C1", NOON + DAY, tenure_months=4)
    asked = [("C1", NOON), ("C1", NOON + 2 * DAY), ("C2", NOON)]
    assert fields_of(rotated.as_of(CHURN, asked)) == [{"tenure_months": 3}, {"tenure_months": 4}, None]
    assert fields_of(rotated.history(CHURN, "C1")) == [{"tenure_months": 3}, {"tenure_months": 4}]
    assert rotated.forget(CHURN, "C1") == 2
    assert rotated.latest(CHURN, ["C1"]) == {}
    rotated.close()
