"""How many files, and with them connections, this process may have open."""

import contextlib
import resource

from alcor.runtime.event_log import EventLog

OTHERS = 256  # files, libraries, servers, the store: what a process has open beside its peers


def raise_limit() -> int:
    """Open as many as we may: the soft limit (usually 1,024) is for programs that use select(2). Give it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):  # a hard limit above what the kernel has now
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return limit()


def limit() -> int:
    """Give how many may be open now."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def warn_if_few(log: EventLog, *, peers: int, clients: int = 0) -> None:
    """Say so when not all of them can be connected at the same time."""
    wanted = peers + clients + OTHERS
    if wanted > limit():
        log.warning(
            "open_files_too_few",
            limit=limit(),
            wanted=wanted,
            hosts=peers,
            remedy="raise the hard limit (ulimit -Hn, or LimitNOFILE= of the service)",
        )
