from pathlib import Path

import pytest

from llm_assets.errors import UserError
from llm_assets.settings import Settings


def test_without_an_environment_all_is_local() -> None:
    settings = Settings.from_environment({})
    assert settings.home == Path.cwd() / ".llm_assets"
    assert settings.applications == Path.cwd() / "applications"
    assert settings.endpoint_url == "http://127.0.0.1:8080"
    assert settings.ui_url == "http://127.0.0.1:3000"


def test_the_environment_decides(tmp_path: Path) -> None:
    settings = Settings.from_environment(
        {
            "LLM_ASSETS_HOME": str(tmp_path),
            "LLM_ASSETS_APPLICATIONS": "apps",
            "LLM_ASSETS_HOST": "0.0.0.0",
            "LLM_ASSETS_PORT": "81",
            "LLM_ASSETS_UI_HOST": "10.0.0.1",
            "LLM_ASSETS_UI_PORT": "65535",
        }
    )
    assert settings.home == tmp_path
    assert settings.dagster_home == tmp_path / "dagster"
    # Relative folders are those of the place that the command was called from.
    assert settings.applications == Path.cwd() / "apps"
    assert settings.endpoint_url == "http://0.0.0.0:81"
    assert settings.ui_url == "http://10.0.0.1:65535"


def test_a_public_endpoint_leaves_the_ui_on_loopback() -> None:
    settings = Settings.from_environment({"LLM_ASSETS_HOST": "0.0.0.0"})
    assert settings.ui_url == "http://127.0.0.1:3000"


@pytest.mark.parametrize("variable", ["LLM_ASSETS_PORT", "LLM_ASSETS_UI_PORT"])
@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "http", "80.5", "8080 "])
def test_what_is_no_port_is_refused_by_the_name_of_its_variable(variable: str, text: str) -> None:
    with pytest.raises(UserError, match=f"{variable}: must be a port from 1 to 65535, got '"):
        Settings.from_environment({variable: text})
