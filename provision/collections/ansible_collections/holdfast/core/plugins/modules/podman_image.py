# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep one container image, named by its digest, in podman's storage."""

from __future__ import annotations

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.holdfast.core.plugins.module_utils.fetch import (
    FetchError,
    fetch,
    need_space,
)
from ansible_collections.holdfast.core.plugins.module_utils.outcome import Outcome, run
from ansible_collections.holdfast.core.plugins.module_utils.wholefile import make_directories

DOCUMENTATION = r"""
module: podman_image
short_description: Load a container image from an archive, by digest
version_added: 0.1.0
description:
  - Looks for the image by reference and manifest digest. Where it is missing, fetches the
    archive, checks its SHA-256, loads it, and checks the digest again. No registry is asked.
options:
  reference:
    description: The image's name, without tag and digest.
    type: str
    required: true
  digest:
    description: The manifest's digest, with its algorithm.
    type: str
    required: true
  archive_url:
    description: Where the archive lies.
    type: str
    required: true
  archive_sha256:
    description: The archive's SHA-256.
    type: str
    required: true
  archive_size:
    description: The archive's size in bytes; 0 when unknown.
    type: int
    default: 0
  directory:
    description: Where the archive lies while it is loaded. The signature policy allows this place.
    type: path
    default: /var/lib/holdfast/archives
author:
  - Holdfast contributors
attributes:
  check_mode:
    support: full
    description: Says whether the image would be loaded.
  diff_mode:
    support: none
    description: The changes are named in RV(holdfast_changes).
  platform:
    support: full
    platforms: el
    description: Needs podman.
"""

EXAMPLES = r"""
- name: Load the engine's image
  holdfast.core.podman_image:
    reference: localhost/holdfast/engine
    digest: "{{ image.digest }}"
    archive_url: "{{ image.url }}"
    archive_sha256: "{{ image.sha256 }}"
"""

RETURN = r"""
image:
  description: The image's name with its digest.
  returned: always
  type: str
"""

ARGUMENTS = {
    "reference": {"type": "str", "required": True},
    "digest": {"type": "str", "required": True},
    "archive_url": {"type": "str", "required": True},
    "archive_sha256": {"type": "str", "required": True},
    "archive_size": {"type": "int", "default": 0},
    "directory": {"type": "path", "default": "/var/lib/holdfast/archives"},
}
NO_SUCH_IMAGE = 1
NO_PODMAN = 127
_LOADING = 3
"""An image needs about this many times its archive's size while it is loaded."""


def exists(outcome: Outcome, image: str) -> int:
    """0 when podman has the image; NO_SUCH_IMAGE, NO_PODMAN, or another number when it fails."""
    return run(outcome.module, ["podman", "image", "exists", image])[0]


def there(outcome: Outcome, image: str) -> bool:
    """Whether podman has the image."""
    return exists(outcome, image) == 0


def tag_by_digest(outcome: Outcome, reference: str, digest: str) -> None:
    """Give the image with this digest its name, where the archive holds none."""
    code, out, _ = run(outcome.module, ["podman", "images", "--digests", "--format", "json"])
    if code != 0:
        return
    for entry in json.loads(out or "[]"):
        if entry.get("Digest") == digest:
            run(outcome.module, ["podman", "tag", str(entry["Id"]), reference + ":stack"])
            return


def load(outcome: Outcome, image: str) -> None:
    """Fetch the archive and load it."""
    params = outcome.module.params
    make_directories(outcome.module, params["directory"])
    os.chmod(params["directory"], 0o700)
    path = os.path.join(params["directory"], "{0}.tar".format(params["archive_sha256"]))
    try:
        need_space("/var/lib/containers", _LOADING * params["archive_size"])
        fetch(params["archive_url"], path, params["archive_sha256"], params["archive_size"])
        code, out, err = run(outcome.module, ["podman", "load", "--quiet", "--input", path])
    except FetchError as error:
        outcome.fail("image {0}: {1}".format(params["reference"], error), error.hint)
        return
    finally:
        if os.path.exists(path):
            os.unlink(path)
    if code != 0:
        outcome.fail(
            "podman does not load {0}: {1}".format(params["archive_url"], err or out),
            "check the archive, the free space and /etc/containers/policy.json",
        )
    if not there(outcome, image):
        tag_by_digest(outcome, params["reference"], params["digest"])
    if not there(outcome, image):
        outcome.fail(
            "{0} was loaded, but no image has digest {1}; podman said {2}".format(
                params["archive_url"], params["digest"], out
            ),
            "correct the digest in the stack lock, or the archive",
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    outcome = Outcome(module)
    image = "{0}@{1}".format(module.params["reference"], module.params["digest"])
    code = exists(outcome, image)
    if code != 0:
        outcome.add("load image {0}".format(image))
        if module.check_mode and code not in (NO_SUCH_IMAGE, NO_PODMAN):
            outcome.depends = "podman does not work before its packages are whole"
        if not module.check_mode:
            load(outcome, image)
    outcome.exit(image=image)


if __name__ == "__main__":
    main()
