# Copyright: Holdfast contributors
# SPDX-License-Identifier: Apache-2.0
"""The types of resources, in the order in which they are looked at."""

from __future__ import annotations

from ansible_collections.holdfast.core.plugins.module_utils.hardening.account import Account
from ansible_collections.holdfast.core.plugins.module_utils.hardening.aide_database import (
    AideDatabase,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.aide_groups import AideGroups
from ansible_collections.holdfast.core.plugins.module_utils.hardening.audit_privileged import (
    AuditPrivileged,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.audit_rule import AuditRule
from ansible_collections.holdfast.core.plugins.module_utils.hardening.authselect import Authselect
from ansible_collections.holdfast.core.plugins.module_utils.hardening.base import Type
from ansible_collections.holdfast.core.plugins.module_utils.hardening.content import Content
from ansible_collections.holdfast.core.plugins.module_utils.hardening.crypto_policy import (
    CryptoPolicy,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.default_target import (
    DefaultTarget,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.file import File
from ansible_collections.holdfast.core.plugins.module_utils.hardening.group import Group
from ansible_collections.holdfast.core.plugins.module_utils.hardening.kernel_argument import (
    KernelArgument,
)
from ansible_collections.holdfast.core.plugins.module_utils.hardening.line import Line
from ansible_collections.holdfast.core.plugins.module_utils.hardening.module import Module
from ansible_collections.holdfast.core.plugins.module_utils.hardening.mount import Mount
from ansible_collections.holdfast.core.plugins.module_utils.hardening.package import Package
from ansible_collections.holdfast.core.plugins.module_utils.hardening.pam import Pam
from ansible_collections.holdfast.core.plugins.module_utils.hardening.selinux import Selinux
from ansible_collections.holdfast.core.plugins.module_utils.hardening.service import Service
from ansible_collections.holdfast.core.plugins.module_utils.hardening.setting import Setting
from ansible_collections.holdfast.core.plugins.module_utils.hardening.sshd import Sshd
from ansible_collections.holdfast.core.plugins.module_utils.hardening.sweep import Sweep
from ansible_collections.holdfast.core.plugins.module_utils.hardening.sysctl import Sysctl
from ansible_collections.holdfast.core.plugins.module_utils.hardening.umask import Umask

TYPES: dict[str, type[Type]] = {
    kind.name: kind
    for kind in (
        # Files of ours come first, so that what edits them finds them; rights come last.
        Package,
        Content,
        Setting,
        Line,
        AideGroups,
        Umask,
        Sysctl,
        Sshd,
        Module,
        Mount,
        Authselect,
        Pam,
        CryptoPolicy,
        KernelArgument,
        Selinux,
        Group,
        Account,
        AuditRule,
        AuditPrivileged,
        Service,
        DefaultTarget,
        Sweep,
        File,
        AideDatabase,
    )
}
