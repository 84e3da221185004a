# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Start CUDA through the driver's own library, as every program does."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome

DOCUMENTATION = r"""
module: cuda_proof
short_description: Start CUDA through the driver's own library
version_added: 0.2.0
description:
  - Loads C(libcuda.so.1), calls C(cuInit) and C(cuDriverGetVersion), and fails when one of them
    does, takes too long, or names an older CUDA than is asked for. Changes nothing.
  - Both calls are made in a process of their own, because a driver that hangs cannot be killed
    from inside.
options:
  least:
    description: The CUDA that the driver must offer, such as C(12.8). Empty asks for none.
    type: str
    default: ""
  library:
    description: The library.
    type: str
    default: libcuda.so.1
  seconds:
    description: How long the driver may take.
    type: int
    default: 120
  expected:
    description: In check mode the driver may only be about to be installed.
    type: bool
    default: false
author:
  - Holdfast contributors
extends_documentation_fragment:
  - holdfast.core.looks
attributes:
  platform:
    support: full
    platforms: el
    description: Needs the GPU driver.
"""

EXAMPLES = r"""
- name: Prove that CUDA starts
  holdfast.core.cuda_proof:
    least: "12.8"
"""

RETURN = r"""
cuda:
  description: The newest CUDA that the driver offers.
  returned: success
  type: str
"""

ARGUMENTS = {
    "least": {"type": "str", "default": ""},
    "library": {"type": "str", "default": "libcuda.so.1"},
    "seconds": {"type": "int", "default": 120},
    "expected": {"type": "bool", "default": False},
}
CHILD = """
import ctypes, json, sys
said = {"load": None, "init": None, "version": None}
try:
    cuda = ctypes.CDLL(sys.argv[1])
    said["init"] = cuda.cuInit(0)
    version = ctypes.c_int(0)
    if said["init"] == 0 and cuda.cuDriverGetVersion(ctypes.byref(version)) == 0:
        said["version"] = version.value
except (OSError, AttributeError) as error:
    said["load"] = str(error)
print(json.dumps(said))
"""
HINTS = {
    100: "no GPU is visible to CUDA: look at nvidia-smi and journalctl -k -b -g NVRM",
    802: "the fabric manager is not ready or not of the driver's version: read journalctl -u "
    "nvidia-fabricmanager",
    803: "library and driver are of different versions: restart the node",
    999: "read journalctl -k -b -g NVRM on the node",
}


def ask(library: str, seconds: int) -> dict[str, Any]:
    """What the library answers; `stuck` when it does not, `ended` when the child died."""
    argv = [sys.executable, "-I", "-c", CHILD, library]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        out, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        # A process that the driver holds does not end; nobody waits for it.
        child.kill()
        return {"stuck": True}
    try:
        answer = json.loads(out.decode("utf-8", "replace"))
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {"ended": child.returncode}


def wrong(answer: dict[str, Any], seconds: int, least: str) -> tuple[str, str] | None:
    """What is wrong with an answer, and what to do; None when all is well."""
    if answer.get("stuck"):
        return "CUDA did not start within {0} s".format(seconds), "read journalctl -k -b -g NVRM"
    if "ended" in answer:
        return "the process that started CUDA ended with {0}".format(answer["ended"]), HINTS[999]
    if answer.get("load") is not None:
        hint = "install the driver's libraries (nvidia-driver-cuda-libs)"
        return "the driver's library cannot be used: {0}".format(answer["load"]), hint
    code = answer.get("init")
    if code != 0:
        return "cuInit says {0}".format(code), HINTS.get(int(code or 0), HINTS[999])
    if not answer.get("version"):
        return "cuDriverGetVersion does not answer", HINTS[999]
    if least and answer["version"] < number(least):
        return (
            "the driver offers CUDA {0}, {1} is asked for".format(shown(answer["version"]), least),
            "lock a newer driver",
        )
    return None


def number(version: str) -> int:
    """C(12.8) as cuDriverGetVersion says it: 12080."""
    major, _, minor = version.partition(".")
    return int(major) * 1000 + int(minor.split(".")[0] or 0) * 10


def shown(version: int) -> str:
    """12080 as 12.8."""
    return "{0}.{1}".format(version // 1000, version % 1000 // 10)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    params = module.params
    answer = ask(params["library"], params["seconds"])
    problem = wrong(answer, params["seconds"], params["least"])
    if problem is not None and outcome.may_come:
        outcome.exit(cuda="")
        return
    if problem is not None:
        outcome.fail(*problem)
        return
    outcome.exit(cuda=shown(answer["version"]))


if __name__ == "__main__":
    main()
