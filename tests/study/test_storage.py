import contextlib
import fcntl
import sqlite3
import subprocess
import sys
import time

import optuna
import pytest
import sqlalchemy
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage

from seedbed.errors import UserError
from seedbed.study import locks, storage
from seedbed.study.storage import Location, open_storage
from seedbed.study.trials import Runner, Search

SECRET = "hunter2"


@pytest.fixture
def search():
    return Search("test", "same", lambda trial: trial.suggest_float("x", 0, 1), {"x": 0.5}, dict)


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(locks, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(storage, "_TIMEOUT", 0.05)


def failure(url):
    """Return what a user is told of a storage, having seen that it holds no password."""
    with pytest.raises(UserError) as caught:
        open_storage(url)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


@pytest.mark.parametrize("form", ["{path}", "journal://{path}"])
def test_a_journal_is_named_by_its_path_or_a_url(tmp_path, search, form):
    path = tmp_path / "new folder" / "journal"
    records = Runner(form.format(path=path), 0).run(search, 2)
    assert Runner(path, 0).run(search, 2) == records


@pytest.mark.parametrize("garbage", [b'{"op_code": 4, "wor', b"\0" * 40, b"half"])
def test_a_half_written_line_is_cut_off(tmp_path, search, garbage):
    path = tmp_path / "journal"
    whole = Runner(path, 0).run(search, 5)
    before = path.read_bytes()
    with path.open("ab") as journal:
        journal.write(garbage)
    assert Runner(path, 0).run(search, 7)[:5] == whole
    assert path.read_bytes().startswith(before)
    assert garbage not in path.read_bytes()


def test_a_half_line_left_while_the_journal_is_open_is_cut_off_too(tmp_path):
    path = tmp_path / "journal"
    opened = open_storage(path)
    study = optuna.create_study(storage=opened, study_name="s")
    with path.open("ab") as journal:
        journal.write(b'{"op_code": 4, "wor')
    study.set_user_attr("a", 1)
    assert optuna.load_study(storage=open_storage(path), study_name="s").user_attrs == {"a": 1}


def test_a_journal_of_an_earlier_version_opens_whatever_lock_it_left(tmp_path, search):
    path = tmp_path / "journal"
    backend = JournalFileBackend(str(path), JournalFileOpenLock(str(path)))
    optuna.create_study(storage=JournalStorage(backend), study_name="old").enqueue_trial({"x": 0.5})
    path.with_name("journal.lock").touch()  # Optuna's own lock, of a process that was killed
    assert len(Runner(path, 0).run(search, 2)) == 2
    assert "old" in optuna.get_all_study_names(open_storage(path))


def test_a_lock_ends_with_its_process_and_is_waited_for_till_then(tmp_path, search):
    code = (
        "import fcntl, sys, time; file = open(sys.argv[1], 'ab'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print('held', flush=True); time.sleep(0.5)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path / "journal"], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    assert len(Runner(tmp_path / "journal", 0).run(search, 1)) == 1
    assert holder.wait() == 0
    holder.stdout.close()


def test_a_lock_may_be_taken_again_by_its_holder_and_nobody_else(tmp_path, impatient):
    mine, other = (locks.FileLock(tmp_path / "file") for _ in range(2))
    with mine:
        with mine:
            pass
        with pytest.raises(UserError, match="locked by another process"), other:
            pass
    with other:
        pass


def test_a_locked_journal(tmp_path, impatient):
    with (tmp_path / "journal").open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert "journal is locked by another process" in failure(tmp_path / "journal")
    open_storage(tmp_path / "journal")


def test_a_locked_sqlite_file(tmp_path, impatient):
    url = f"sqlite:///{tmp_path}/study.db"
    with Location.of(url).opened():
        pass
    connection = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        assert "study.db is locked by another process" in failure(url)
    finally:
        connection.close()


def test_a_lock_of_postgresql_that_is_not_let_go(postgres, impatient):
    with Location.of(postgres).lock, pytest.raises(UserError, match="is locked by another process"):
        open_storage(postgres)


@pytest.mark.parametrize(
    "content",
    [b"hello\n", b"one\ntwo\n", b"{}\n", b"[1]\n{}\n", b'{"op_code": 77, "worker_id": "w"}\n', b"\xff\xfe\n\n"],
)
def test_a_file_that_is_no_journal(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert f"{path} is no journal of studies, or a corrupt one" in failure(path)
    assert path.read_bytes() == content


def test_a_database_given_as_a_journal_and_the_reverse(tmp_path, search):
    with Location.of(f"sqlite:///{tmp_path}/study.db").opened():
        pass
    Runner(tmp_path / "journal", 0).run(search, 1)
    before = (tmp_path / "study.db").read_bytes()
    assert "is no journal of studies" in failure(tmp_path / "study.db")
    assert (tmp_path / "study.db").read_bytes() == before
    assert "file is not a database" in failure(f"sqlite:///{tmp_path}/journal")


def test_a_folder_or_a_file_where_none_can_be(tmp_path):
    (tmp_path / "file").touch()
    assert "Is a directory" in failure(tmp_path)
    assert f"{tmp_path}/file: File exists" in failure(tmp_path / "file" / "journal")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        (
            f"postgresql+pg8000://me:{SECRET}@127.0.0.1:1/study",
            "me:***@127.0.0.1:1/study failed: Can't create a connection",
        ),
        (f"postgresql+pg8000://me@127.0.0.1:1/study?password={SECRET}", "me@127.0.0.1:1/study failed"),
        (f"mysql+pymysql://me:{SECRET}@host/study", "pip install pymysql"),
        (f"postgres://me:{SECRET}@host/study", "no such kind of database"),
        (f"oracle+none://me:{SECRET}@host/study", "no such kind of database"),
        (f"postgresql+pg8000://me:{SECRET}@host:port/study", "no URL of a database"),
        (f"://me:{SECRET}@host", "no URL of a database"),
        ("sqlite://", "ends with its process"),
        ("sqlite:///:memory:", "ends with its process"),
    ],
)
def test_a_storage_out_of_reach(url, told):
    assert told in failure(url)


def test_a_database_that_the_server_does_not_have(postgres):
    url = Location.of(postgres).database.set(password=SECRET, database="nosuch").render_as_string(hide_password=False)
    assert 'database "nosuch" does not exist' in failure(url)


def test_a_database_that_no_study_can_be_kept_in():
    with pytest.raises(UserError, match="PostgreSQL, MySQL and SQLite only"):
        locks.ServerLock("somewhere", type("Engine", (), {"dialect": type("Dialect", (), {"name": "mssql"})})())


def test_a_database_that_breaks_amid_a_study(tmp_path):
    def objective(trial):
        with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as connection:
            connection.execute("DROP TABLE trial_params")
        return trial.suggest_float("x", 0, 1)

    broken = Search("test", "same", objective, {"x": 0.5}, dict)
    with pytest.raises(UserError, match=r"study.db failed: no such table: trial_params\n.*it continues"):
        Runner(f"sqlite:///{tmp_path}/study.db", 0).run(broken, 4)


def test_a_study_outlives_the_connections_of_its_database(postgres):
    url = Location.of(postgres).database

    own = url.update_query_dict({"application_name": "test"}).render_as_string(hide_password=False)
    end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'test'"
    ended = []

    def objective(trial):
        with sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect() as connection:
            ended.append(len(connection.execute(sqlalchemy.text(end)).all()))
        return trial.suggest_float("x", 0, 1)

    seed = time.time_ns() % 2**31
    records = Runner(own, seed).run(Search("test", "same", objective, {"x": 0.5}, dict), 3)
    assert [record.number for record in records] == [0, 1, 2]
    assert min(ended) > 0
