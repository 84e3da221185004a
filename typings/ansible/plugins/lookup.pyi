from typing import Any

from ansible.plugins import AnsiblePlugin

class DataLoader:
    def load_from_file(self, file_name: str, cache: str = ...) -> Any: ...

class LookupBase(AnsiblePlugin):
    _loader: DataLoader
    def run(
        self, terms: list[str], variables: dict[str, Any] | None = ..., **kwargs: Any
    ) -> list[Any]: ...
