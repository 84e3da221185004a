from collections.abc import Mapping
from typing import Any

from ansible.plugins.connection import ConnectionBase, PlayContext

class Task:
    args: dict[str, Any]
    check_mode: bool

class ActionBase:
    TRANSFERS_FILES: bool
    _supports_check_mode: bool
    _task: Task
    _connection: ConnectionBase
    _play_context: PlayContext
    def run(
        self, tmp: str | None = ..., task_vars: dict[str, Any] | None = ...
    ) -> dict[str, Any]: ...
    def _execute_module(
        self,
        module_name: str | None = ...,
        module_args: Mapping[str, Any] | None = ...,
        *,
        task_vars: Mapping[str, Any] | None = ...,
    ) -> dict[str, Any]: ...
    def _low_level_execute_command(self, cmd: str) -> dict[str, Any]: ...
