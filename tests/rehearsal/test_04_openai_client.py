"""As a programmer I point the client library that I already use at the rack: another address, the
rack's own authority, the key that I was given. My program streams its answers as before, and who
has no key gets nothing.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.rehearsal.conftest import SimulatedRack

pytestmark = [pytest.mark.rehearsal, pytest.mark.together("first")]

PROGRAM = """
import http.client, json, os, ssl, sys, urllib.request
import openai

asked = json.load(sys.stdin)
context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])

def tokens():
    request = urllib.request.Request(asked["base"] + "/metrics")
    request.add_header("Authorization", "Bearer " + asked["key"])
    with urllib.request.urlopen(request, context=context) as answer:
        rows = [row.split() for row in answer.read().decode().splitlines()]
    return {row[0]: float(row[1]) for row in rows
            if row and row[0].startswith("llamacpp:") and row[0].endswith("_total")}

def client(key):
    return openai.OpenAI(base_url=asked["base"] + "/v1", api_key=key, max_retries=0)

def ask(key):
    stream = client(key).chat.completions.create(
        model=asked["model"], stream=True, max_tokens=16,
        messages=[{"role": "user", "content": "Who owns this rack?"}])
    return [c.choices[0].delta.content for c in stream if c.choices]

said = {"models": [m.id for m in client(asked["key"]).models.list()]}
before = tokens()
said["pieces"] = [piece for piece in ask(asked["key"]) if piece]
after = tokens()
said["moved"] = {name: after[name] - before[name] for name in after}
try:
    ask("sk-wrong")
except openai.AuthenticationError as error:
    said["wrong_key"] = error.status_code
said["moved_by_wrong_key"] = tokens() != after
try:
    plain = http.client.HTTPConnection(asked["base"].removeprefix("https://"), timeout=10)
    plain.request("GET", "/health")
    said["plain"] = plain.getresponse().status
except (http.client.HTTPException, ConnectionError) as error:
    said["plain"] = "hangs up"
print(json.dumps(said))
"""


@pytest.mark.parametrize("name", ["n1", "n2"])
def test_the_usual_client_streams_an_answer(rack: SimulatedRack, name: str) -> None:
    said = ask(rack, name)
    assert said["models"] == ["tiny"]
    assert 2 <= len(said["pieces"]) <= 17
    assert "".join(said["pieces"]).strip()
    assert said["moved"]["llamacpp:tokens_predicted_total"] >= 2, said
    assert said["wrong_key"] == 401
    assert not said["moved_by_wrong_key"]
    # The port hangs up, or says in HTTP that it wants TLS; it never answers.
    assert said["plain"] in ("hangs up", 400, 426), said


def ask(rack: SimulatedRack, name: str) -> dict[str, Any]:
    """Run the program inside the rack's network; nothing but the authority is told to it."""
    secrets = rack.rehearsal.folder / "secrets"
    asked = {
        "base": f"https://{rack.node(name).address}:8443",
        "key": (secrets / "api-key").read_text().strip(),
        "model": "tiny",
    }
    trusting = ["env", f"SSL_CERT_FILE={os.fspath(secrets / 'ca.crt')}"]
    argv = [*rack.rehearsal.inside(), *trusting, sys.executable, "-c", PROGRAM]
    ran = rack.run(argv, stdin=json.dumps(asked), timeout=120)
    assert ran.code == 0, ran.err
    return ran.document
