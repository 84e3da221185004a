from collections.abc import Mapping
from typing import Any

class AnsiblePlugin:
    def get_option(self, option: str) -> Any: ...
    def set_option(self, option: str, value: Any) -> None: ...
    def set_options(
        self,
        task_keys: Mapping[str, Any] | None = ...,
        var_options: Mapping[str, Any] | None = ...,
        direct: Mapping[str, Any] | None = ...,
    ) -> None: ...
