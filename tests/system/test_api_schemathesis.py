"""schemathesis sends what the document allows and what it does not: no 5xx, and no answer but those described.

By hand and for longer: `schemathesis run http://127.0.0.1:9696/openapi.json --max-examples 100 --exclude-path
/v2.0/events --exclude-checks positive_data_acceptance,ensure_resource_availability`, against `alcor up`."""

import asyncio
import sys
from pathlib import Path

from api_scene import scene
from real_server import listening

# What is allowed may still be refused: networks that do not exist, addresses that are taken.
NOT_HERE = "positive_data_acceptance,ensure_resource_availability"
# A stream that does not end; and the tags of all kinds but one, which are the same code.
LEFT_OUT = r"^/v2.0/(events|(?!networks).*/tags.*)$"
TIMEOUT_S = 500.0
CONFIG = Path(__file__).parents[1] / "schemathesis.toml"
COMMAND = (
    *("--phases", "coverage,fuzzing", "--max-examples", "3", "--generation-deterministic", "--workers", "1"),
    *("--exclude-checks", NOT_HERE, "--exclude-path-regex", LEFT_OUT, "--request-timeout", "60"),
    *("--no-color", "--continue-on-failure"),
)


async def test_nothing_that_schemathesis_sends_is_answered_otherwise_than_described(tmp_path: Path) -> None:
    async with scene() as s, listening(s.application) as port:
        await s.wired_network(project="admin")
        await s.make("security_group", name="g", project="admin")
        s.convergence.wait = s.convergence.wait_revision = _at_once  # type: ignore[method-assign,assignment]
        said = tmp_path / "said"
        process = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("schemathesis"),
            "--config-file",
            CONFIG,
            "run",
            f"http://127.0.0.1:{port}/openapi.json",
            *COMMAND,
            cwd=tmp_path,  # it keeps what it found
            stdout=said.open("wb"),
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        assert process.returncode == 0, said.read_text()
        print(said.read_text())


async def _at_once(*_: object, **__: object) -> bool:
    return False  # nobody waits for hosts that are not there
