"""The LiteLLM proxy, in an environment of its own, before the same upstream."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving_servers import Server, free_port, running

REQUIREMENT = "litellm[proxy]==1.108.7"


def make_peers(folder: Path) -> None:
    """Make the environment with what pip is configured to find; takes minutes."""
    print(f"litellm: {REQUIREMENT}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "litellm"], check=True)
    python = folder / "litellm" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", REQUIREMENT], check=True)


def has_litellm(folder: Path | None) -> bool:
    """Whether the environment is there; prints what to do if it is not."""
    if folder is not None and (folder / "litellm" / "bin" / "litellm").is_file():
        return True
    print("Without LiteLLM: make its environment by --make-peers, name it by --peers.")
    return False


@contextmanager
def litellm(folder: Path, upstream: str, model: str, *, log: Path) -> Iterator[Server]:
    """Run the proxy before an upstream of the OpenAI API, with one worker and no logging."""
    config = log.with_name("litellm.json")  # JSON is YAML
    config.parent.mkdir(parents=True, exist_ok=True)
    parameters = {"model": f"openai/{model}", "api_base": f"{upstream}/v1", "api_key": "none"}
    settings = {
        "model_list": [{"model_name": model, "litellm_params": parameters}],
        # As ours on a loopback address, it asks nobody for a token.
        "general_settings": {"dangerously_permit_weak_or_unset_master_key": True},
    }
    config.write_text(json.dumps(settings))
    port = free_port()
    command = [str((folder / "litellm" / "bin" / "litellm").absolute()), "--config", str(config)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    environment = {
        # It would ask the web for prices and for who uses it.
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
    }
    with running(
        "LiteLLM",
        command,
        port=port,
        log=log,
        probe="/health/liveliness",
        environment=environment,
    ) as server:
        yield server
