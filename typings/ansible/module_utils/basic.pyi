from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

class AnsibleModule:
    params: dict[str, Any]
    check_mode: bool
    def __init__(
        self,
        argument_spec: Mapping[str, Any],
        *,
        supports_check_mode: bool = ...,
        required_if: Sequence[Sequence[Any]] | None = ...,
    ) -> None: ...
    def run_command(
        self,
        args: Sequence[str],
        *,
        data: str | bytes | None = ...,
        binary_data: bool = ...,
        environ_update: Mapping[str, str] | None = ...,
        handle_exceptions: bool = ...,
    ) -> tuple[int, str, str]: ...
    def get_bin_path(self, arg: str) -> str | None: ...
    def selinux_enabled(self) -> bool: ...
    def selinux_default_context(self, path: str) -> list[str | None]: ...
    def set_context_if_different(
        self, path: str, context: list[str | None], changed: bool
    ) -> bool: ...
    def warn(self, warning: str) -> None: ...
    def exit_json(self, **kwargs: Any) -> NoReturn: ...
    def fail_json(self, msg: str, **kwargs: Any) -> NoReturn: ...
