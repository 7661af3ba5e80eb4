"""The clients of other services as resources of a manifest: opened, closed, and checked before."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from assembler.application.build import build
from assembler.diagnostics.errors import ManifestError, StartupError
from assembler.plan.load import Plan, load
from components.clients.ai import AnthropicClient, OpenAIClient
from components.clients.sms import SMSClient
from tests.assembler.project import project
from tests.components.clients.test_fcm import key_file

LIST = '[tool.assembler]\nimports = ["components"]\n'
ALL = """\
manifest: 1
resources:
  ai:
    use: components.clients.ai.OpenAIClient
    with: {api_key: "${AI_KEY}", base_url: "https://ai.example/v1", deadline: 20s, retries: 2}
  claude: {use: components.clients.ai.AnthropicClient, with: {api_key: "${AI_KEY}", model: m}}
  push: {use: components.clients.fcm.FCMClient, with: {project: shop, credentials: "${FCM_KEY}"}}
  sms:
    use: components.clients.sms.SMSClient
    with: {account: AC1, token: "${SMS_TOKEN}", sender: "+15005550006"}
"""


def planned(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch, key: str = "") -> Plan:
    monkeypatch.setenv("AI_KEY", "sk-test")
    monkeypatch.setenv("SMS_TOKEN", "token-test")
    monkeypatch.setenv("FCM_KEY", key or key_file("https://oauth2.example"))
    with project(folder, {"manifest.yaml": text, "pyproject.toml": LIST}):
        return load("manifest.yaml")


def test_they_are_built_opened_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = build(planned(tmp_path, ALL, monkeypatch))
    with TestClient(app) as client:
        state = client.app_state
    assert isinstance(state["ai"], OpenAIClient)
    assert isinstance(state["claude"], AnthropicClient)
    assert isinstance(state["sms"], SMSClient)
    assert [step.outcome for step in app.state.assembly.steps if step.id == "push"] == ["ok", "ok"]


def test_a_wrong_key_ends_the_start_and_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app = build(planned(tmp_path, ALL, monkeypatch, key='{"type": "secret-words"}'))
    with pytest.raises(StartupError, match="no JSON key of a service account") as caught:
        TestClient(app).__enter__()
    assert "secret-words" not in str(caught.value)


@pytest.mark.parametrize(
    ("use", "options", "code", "message"),
    [
        ("ai.OpenAIClient", "{}", "missing-option", "`api_key`"),
        ("ai.OpenAIClient", "{api_key: k, base_url: ai.example}", "bad-value", "`base_url`"),
        ("ai.OpenAIClient", "{api_key: k, deadline: 20}", "bad-value", "`deadline`"),
        ("ai.OpenAIClient", "{api_key: k, retries: -1}", "bad-value", "`retries`"),
        ("ai.OpenAIClient", "{api_key: k, embeding_cache: 1}", "unknown-option", "embeding_cache"),
        ("ai.AnthropicClient", "{api_key: k, max_tokens: 0}", "bad-value", "`max_tokens`"),
        ("fcm.FCMClient", "{concurrency: 0}", "bad-value", "`concurrency`"),
        ("sms.SMSClient", "{account: A/B, token: t, sender: s}", "bad-value", "`account`"),
    ],
)
def test_what_cannot_be_is_refused_by_the_check(
    use: str,
    options: str,
    code: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = f"manifest: 1\nresources: {{one: {{use: components.clients.{use}, with: {options}}}}}\n"
    with pytest.raises(ManifestError) as caught:
        planned(tmp_path, text, monkeypatch)
    (fault,) = caught.value.diagnostics
    assert fault.code == code
    assert message in fault.message
