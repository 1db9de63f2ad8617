"""Credentials are masked wherever a command line or message is recorded, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import RunError
from engine.record.environment import light_environment
from engine.record.events import EventWriter
from engine.record.secrets import masked_command, without_secrets
from engine.record.status import Fault


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("https://user:secret@host/x?y=1", "https://host/x?y=1"),
        ("http://token@host", "http://host"),
        ("--token=abc123", "--token=***"),
        ("--token abc123 --other x", "--token *** --other x"),
        ("--hf-token 'abc 123' x", "--hf-token *** x"),
        ("--password hunter2", "--password ***"),
        ("--api-key k123 y", "--api-key *** y"),
        ("notify.command=curl -d password=hunter2 https://x", "notify.command=curl -d password=*** https://x"),
        ("HF_TOKEN=abc crild", "HF_TOKEN=*** crild"),
        ("AWS_SECRET_ACCESS_KEY=wJalr/XUtn aws s3", "AWS_SECRET_ACCESS_KEY=*** aws s3"),
        ("AWS_ACCESS_KEY_ID=abc", "AWS_ACCESS_KEY_ID=***"),
        ("SECRET_KEY=abc", "SECRET_KEY=***"),
        ("client_secret: abc", "client_secret: ***"),
        ("DB_PASS=abc PGPASSWORD=def MYSQL_PWD=ghi", "DB_PASS=*** PGPASSWORD=*** MYSQL_PWD=***"),
        ("PASSWORD='two words' x", "PASSWORD=*** x"),
        ("{'token': 'abc', \"password\": \"def\"}", "{'token': ***, \"password\": ***}"),
        ('curl -H "Authorization: Bearer abc.def" x', 'curl -H "Authorization: ***" x'),
        ("curl -H 'X-Api-Key: abc' -H 'Private-Token: def'", "curl -H 'X-Api-Key: ***' -H 'Private-Token: ***'"),
        ("sent Bearer abcdefgh.ijkl", "sent Bearer ***"),
        ("curl -u user:pw https://x", "curl -u user:*** https://x"),
        ("curl -uuser:pw --proxy-user a:b https://x", "curl -uuser:*** --proxy-user a:*** https://x"),
        ("curl --user=me:pw x", "curl --user=me:*** x"),
        ("https://hooks.slack.com/services/T1/B2/abc", "https://hooks.slack.com/***"),
        ("https://discord.com/api/webhooks/123/abc-def", "https://discord.com/api/webhooks/***"),
        ("https://discordapp.com/api/webhooks/1/a", "https://discordapp.com/api/webhooks/***"),
        ("https://corp.webhook.office.com/webhookb2/a@b/x", "https://corp.webhook.office.com/***"),
        ("https://chat.example/hooks/abc", "https://chat.example/hooks/***"),
        ("https://api.telegram.org/bot123:ABC/sendMessage", "https://api.telegram.org/bot***"),
        ("https://x.example/a?key=abc&n=1", "https://x.example/a?key=***&n=1"),
        ("https://s3.example/o?X-Amz-Signature=abc", "https://s3.example/o?X-Amz-Signature=***"),
        ("hf_abcdefghijklmnopqrst", "***"),
        ("ghp_abcdefghijklmnopqrst", "***"),
        ("github_pat_11ABCDEFG0abcdefghijklmnop", "***"),
        ("xoxb-123456789012-abcdefghijkl", "***"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.abc", "***"),
    ],
)
def test_secrets_are_masked(text: str, clean: str) -> None:
    assert without_secrets(text) == clean
    assert without_secrets(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "https://host/a@b",
        "https://huggingface.co/org/model/resolve/main/config.json",
        "task.max_tokens=128",
        "stage.ild.epochs=5",
        "tokenizer=bert",
        "teacher.tokenizer=/a/b",
        "student.init=sk-model",
        "the tokenizer has no unknown token: every word must be in its vocabulary",
        "the key task.name is missing: add it",
        "unk_token: [UNK] is not in the vocabulary",
        "--runs-dir /data --name x",
        "-u 3",
        "presets/mine.toml:3: unknown key",
        "/etc/passwd: unknown file format",
    ],
)
def test_nothing_else_is_masked(text: str) -> None:
    assert without_secrets(text) == text


def test_an_option_and_its_value_in_two_words_are_masked() -> None:
    words = ["crild", "run", "--token", "abc", "-u", "me:pw", "--name", "x", "--set", "task.source=https://a:b@h/x"]
    clean = ["crild", "run", "--token", "***", "-u", "me:***", "--name", "x", "--set", "task.source=https://h/x"]
    assert masked_command(words) == clean
    assert light_environment(words)["command"] == clean


def test_recorded_messages_and_errors_hold_no_secrets(tmp_path: Path) -> None:
    sentence = "the hub refused https://me:hunter2@hub.example with hf_abcdefghijklmnopqrst"
    writer = EventWriter(tmp_path / "events.1.jsonl", 1)
    writer.write("message", level="warning", text=sentence)
    writer.close()
    event = json.loads((tmp_path / "events.1.jsonl").read_text())
    fault = Fault.from_error(RunError(sentence, kind="hub-refused"))
    for text in (event["text"], fault.sentence):
        assert text == "the hub refused https://hub.example with ***"
