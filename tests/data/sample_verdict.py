"""Verdicts to try renderers on: deterministic, of any size, with every status in them.

Run it to look at the result: ``python tests/data/sample_verdict.py FOLDER`` writes the report
of a small, a usual and a large rack, and one with hostile names and evidence.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from provision.verdict import html, junit, schema, terminal
from provision.verdict.model import Finding, NodeSummary, Severity, Status, Verdict

START = 1795402800.0

CHECKS: tuple[tuple[str, str, str, str], ...] = (
    (
        "repositories.signed",
        "Every repository verifies signatures",
        "gpgcheck=1, repo_gpgcheck=1",
        "gpgcheck=1, repo_gpgcheck=1 in 3 repositories",
    ),
    (
        "repositories.locked",
        "Only repositories of the stack lock are enabled",
        "holdfast-base, holdfast-ai",
        "holdfast-base, holdfast-ai",
    ),
    (
        "base.packages",
        "Packages are the locked ones",
        "41 packages as locked",
        "41 of 41 as locked",
    ),
    (
        "base.running_kernel",
        "The newest installed kernel is running",
        "6.12.0-55.el10",
        "6.12.0-55.el10",
    ),
    (
        "base.firewall",
        "The firewall admits what is declared and nothing else",
        "tcp 22, 8443",
        "tcp 22, 8443",
    ),
    (
        "time.synchronised",
        "The clock follows a declared server",
        "offset below 1.0 s",
        "offset 0.0004 s to 192.0.2.1",
    ),
    ("time.service", "chronyd runs and starts at boot", "active, enabled", "active, enabled"),
    ("container_runtime.podman", "podman is the locked version", "5.4.0", "5.4.0"),
    ("container_runtime.no_docker", "No second container engine listens", "no socket", "no socket"),
    (
        "model_store.digests",
        "Model files match the stack lock",
        "every file by sha256",
        "2 files, 1 302 MiB, all match",
    ),
    (
        "model_store.read_only",
        "Model files belong to root and cannot be written",
        "root:root, 0444",
        "root:root, 0444",
    ),
    (
        "inference.unit",
        "The engine runs from the locked image",
        "sha256:5b3d0c…",
        "sha256:5b3d0c…, running for 41 s",
    ),
    (
        "inference.hardened",
        "The engine has no capabilities and a read-only root",
        "CapEff 0, read-only",
        "CapEff 0000000000000000, read-only",
    ),
    ("inference.tls", "Plain HTTP is refused", "no answer without TLS", "connection reset"),
    ("inference.answers", "The model answers a prompt", "HTTP 200 and at least one token", ""),
)

ANSWER = """\
POST https://{node}:8443/v1/chat/completions
> What does a rack need to stand by itself?

  Its own copy of everything it runs, a way to check that copy,
  and no one upstream who can take it back.

HTTP 200, 27 tokens, first after 0.18 s, 41 tokens/s"""


def sample(nodes: int, *, healthy: bool = False, positions: bool = True) -> Verdict:
    """A verified rack of `nodes` nodes; unless `healthy`, some of them fail in different ways."""
    summaries = [_summary(i, nodes, positions) for i in range(nodes)]
    findings: list[Finding] = []
    for index, node in enumerate(summaries):
        findings += _findings(node, index, nodes, healthy)
    return Verdict(
        kind="verify",
        rack="lab-a" if nodes < 100 else "hall-2",
        run="20261123T031500Z-7f3a",
        nodes=tuple(summaries),
        findings=tuple(findings),
        started=START,
        ended=START + 8.4 + nodes * 0.6,
        inputs={
            name: hashlib.sha256(name.encode()).hexdigest()
            for name in ("inventory", "stack_lock", "profile")
        },
        rehearsal=nodes < 3,
        tool="0.1.0",
    )


def hostile() -> Verdict:
    """Names and evidence that try to break out of every format."""
    script = "<script>alert(1)</script>"
    name = f'"><img src=x onerror=alert(1)>{script}'
    bad = (
        f"{script}\x1b]0;owned\x07\x00\x08 ]]> &amp; \u202egnp.exe\ud800\uffff\njavascript:alert(1)"
    )
    return Verdict(
        kind="verify",
        rack=f"lab{script}",
        run="{{ 7 * 7 }}",
        nodes=(
            NodeSummary(name, (script,), script, 3, 2, {script: script}),
            NodeSummary("same name", facts={"x": "\x1b[31m"}),
            NodeSummary("same-name"),
        ),
        findings=(
            Finding(name, f"x.{script}", bad, Status.FAIL, bad, bad, Severity.HIGH, bad, bad),
            Finding("same name", "x.y", bad, Status.WAIVED, bad, bad, reason=bad),
            Finding("same-name", "x.y", bad, Status.NOT_APPLICABLE, reason=bad),
            Finding("same-name", "x.z", bad, Status.PASS, bad, bad),
            Finding("a stranger", "x.y", bad, Status.UNKNOWN, bad, bad),
        ),
        inputs={script: script},
        tool=script,
    )


def _summary(index: int, nodes: int, positions: bool) -> NodeSummary:
    gpu = {
        "address": f"192.0.2.{index % 250 + 10}",
        "release": "EL 10.1",
        "GPUs": "8x NVIDIA H100 80GB HBM3",
        "memory": "1024 GiB",
    }
    if nodes < 3:
        return NodeSummary(
            f"node{index + 1}", ("gpu",), "container", 2 + index * 3 if positions else None, 2,
            {"address": gpu["address"], "release": "EL 10 (compatible)", "memory": "2 GiB"},
        )  # fmt: skip
    if index == 0:
        facts = {**gpu, "GPUs": "none", "memory": "256 GiB"}
        return NodeSummary("head", ("head",), "metal", 40 if positions else None, 1, facts)
    if nodes < 100:
        position = 1 + (index - 1) * 4 + (2 if index > 4 else 0)
        return NodeSummary(
            f"gpu{index}", ("gpu",), "metal", position if positions else None, 4, gpu
        )
    position = (index - 1) % 40 + 1
    return NodeSummary(
        f"gpu{index:03d}", ("gpu",), "metal", position if positions else None, 1, gpu
    )


def _findings(node: NodeSummary, index: int, nodes: int, healthy: bool) -> list[Finding]:
    found = []
    for number, (check, title, expected, seen) in enumerate(CHECKS):
        took = 0.02 + ((index * 7 + number * 13) % 40) / 50
        if node.name == "head" and check.startswith(("model_store", "inference")):
            reason = "the inventory declares no inference on this node"
            one = Finding(node.name, check, title, Status.NOT_APPLICABLE, reason=reason)
        elif check == "inference.answers":
            answer = ANSWER.format(node=node.facts["address"])
            one = Finding(node.name, check, title, Status.PASS, expected, answer, seconds=1.4)
        else:
            one = Finding(node.name, check, title, Status.PASS, expected, seen, seconds=took)
        found.append(one if healthy else _worse(one, index, nodes))
    return found


def _worse(f: Finding, index: int, nodes: int) -> Finding:
    bad = index if nodes >= 100 else index * 37
    unreachable = nodes >= 3 and bad % 397 == 185
    if unreachable:
        return Finding(
            f.node, f.check, f.title, Status.UNKNOWN, f.expected,
            "ssh: connect to port 22: No route to host", Severity.HIGH,
            "see whether the node has power and its cable; then run verify again",
            "the node answers SSH and the check passes",
        )  # fmt: skip
    if f.check == "time.synchronised" and (bad % 31 == 12 or index == 2):
        return Finding(
            f.node, f.check, f.title, Status.FAIL, f.expected,
            f"offset {2.5 + index % 3:.1f} s, no server reachable", Severity.MEDIUM,
            "open udp 123 to 192.0.2.1, or declare a server that this node reaches",
            "offset below 1.0 s for one poll of 64 s",
        )  # fmt: skip
    if (
        f.check == "inference.answers"
        and f.status is Status.PASS
        and (bad % 97 == 14 or index == 3 or (nodes < 3 and index == 1))
    ):
        return Finding(
            f.node, f.check, f.title, Status.FAIL, f.expected,
            f"POST https://{f.node}:8443/v1/chat/completions\n\nHTTP 503 after 30.0 s\n"
            '{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}\n\n'
            "holdfast-inference.service: active, restarted 4 times\n"
            "last line of its log: ggml_backend_cuda: out of memory (81920 MiB asked)",
            Severity.CRITICAL,
            "see `journalctl -u holdfast-inference` on the node; "
            "lower holdfast_inference.context or choose a smaller model",
            "HTTP 200 and at least one token within 30 s",
        )  # fmt: skip
    if f.check == "base.firewall" and f.node == "head":
        return Finding(
            f.node, f.check, f.title, Status.WAIVED, f.expected, "tcp 22, 8443, 9090", Severity.LOW,
            reason="console for the operators until 2027-01-31, owner: lab operations (W-12)",
        )  # fmt: skip
    return f


def write(folder: Path) -> None:
    """Write every form of every sample into `folder`."""
    cases = {
        "two": sample(2),
        "two-healthy": sample(2, healthy=True),
        "nine": sample(9),
        "nine-healthy": sample(9, healthy=True),
        "nine-loose": sample(9, positions=False),
        "fleet": sample(400),
        "hostile": hostile(),
        "empty": Verdict("verify", "lab-a", "run", (), ()),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, verdict in cases.items():
        (folder / f"{name}.html").write_text(html.render(verdict), encoding="utf-8")
        (folder / f"{name}.xml").write_text(junit.render(verdict), encoding="utf-8")
        (folder / f"{name}.txt").write_text(terminal.render(verdict, width=100), encoding="utf-8")
        if name != "hostile":
            (folder / f"{name}.json").write_text(schema.to_text(verdict), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
