"""The official JavaScript clients against the running gateway: `node --test` on each file.

They are installed as their lock file says, into a folder of the tests' own.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from gateway import Gateway, Tenant
from sdk_models import CHAT_MODELS, EMBEDDING_MODELS

NODE_TESTS: Final = Path(__file__).parent.parent / "node"
FILES: Final = sorted(path.name for path in NODE_TESTS.glob("*.test.mjs"))
INSTALL_SECONDS: Final = 90
RUN_SECONDS: Final = 60
NO_NETWORK: Final = re.compile(
    r"ENOTFOUND|EAI_AGAIN|ECONN\w+|ENET\w+|EHOST\w+|\w*TIMEOUT|ETIMEDOUT|code E(429|5\d\d)"
)

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None,
    reason="node and npm are not installed: nothing to run the JavaScript clients with",
)


@pytest.fixture(scope="module")
def gateway(every_gateway: Gateway) -> Gateway:
    """All providers are at the simulator."""
    return every_gateway


@pytest.fixture(scope="session")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JavaScript tests beside the clients that they use."""
    folder = tmp_path_factory.mktemp("node")
    for path in NODE_TESTS.iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    try:
        install = subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm reaches no registry in time: the JavaScript clients cannot be installed")
    if install.returncode != 0 and NO_NETWORK.search(install.stderr):
        pytest.skip("npm reaches no registry: the JavaScript clients cannot be installed")
    assert install.returncode == 0, install.stderr
    return folder


@pytest.mark.parametrize("name", FILES)
def test_the_official_javascript_client_works(
    gateway: Gateway, tenant: Tenant, node_folder: Path, name: str
) -> None:
    ran = subprocess.run(
        ["node", "--test", "--test-reporter=tap", name],
        cwd=node_folder,
        env={
            "PATH": os.environ["PATH"],
            "OMNI_URL": gateway.rest,
            "OMNI_API_KEY": tenant.api_key,
            "OMNI_CHAT_MODELS": ",".join(CHAT_MODELS),
            "OMNI_EMBEDDING_MODELS": ",".join(EMBEDDING_MODELS),
        },
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^# pass [1-9]", ran.stdout, re.MULTILINE), ran.stdout
