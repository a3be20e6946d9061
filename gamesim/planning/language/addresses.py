"""Where an endpoint may be, and the key to it: a secret goes nowhere that others can read it, and is never shown."""

import ipaddress
import json
import os
import re
from urllib.parse import quote

from gamesim.errors import InvalidInput, refuse

LOCAL = "http://127.0.0.1:8000/v1"
"""Where `gamesim llm serve` is, and vLLM."""
ADDRESS = re.compile(r"(https?)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
SECRET = 8
"""Characters of a key, at least; shorter texts are fillers for servers that check none, and may stand in any answer."""
VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")


def require_address(url: str) -> str:
    """An address as it may be called, without a slash at its end; refused where a key might go astray.

    >>> require_address("http://127.0.0.1:8000/v1/")
    'http://127.0.0.1:8000/v1'
    """
    match = ADDRESS.fullmatch(url)
    wanted = (
        f"an address as https://HOST/v1, or http on this machine, as {LOCAL}; no user, question mark or blank in it"
    )
    if match is None or not _host(match[2]):
        raise InvalidInput(f"base_url: expected {wanted}")  # what stands there may be a secret, and is not repeated
    if match[1] == "http" and not _loopback(match[2].strip("[]")):
        raise refuse("base_url", url, "https://..., since prompts and keys would travel readable to all; http is for "
                     f"this machine alone, as {LOCAL}")  # fmt: skip
    if match[3] and not 0 < int(match[3][1:]) < 2**16:
        raise refuse("base_url", url, "a port from 1 to 65535")
    return url.rstrip("/")


def require_variable(name: str) -> None:
    """The name of an environment variable; what may be a key is not repeated."""
    if not VARIABLE.fullmatch(name):
        raise InvalidInput("key_env: expected the name of an environment variable, as OPENAI_API_KEY, not a key")


def _host(name: str) -> bool:
    """Whether there may be a machine of this name, or number."""
    if name.startswith("["):
        try:
            return ipaddress.ip_address(name.strip("[]")).version == 6
        except ValueError:
            return False
    return len(name) <= 253 and all(0 < len(label) <= 63 for label in name.removesuffix(".").split("."))


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Key:
    """A secret that does not show itself."""

    def __init__(self, variable: str, address: str) -> None:
        require_variable(variable)
        value = os.environ.get(variable, "").strip()
        if not value and address.startswith("https:"):
            raise refuse(
                "key_env", variable, f"a variable that holds the key of {address}; set it: export {variable}=..."
            )
        if not all("!" <= c <= "~" for c in value):
            raise InvalidInput(f"key_env: {variable} holds blanks or letters that no key has; set it again")
        if len(value) < SECRET and address.startswith("https:"):
            raise InvalidInput(f"key_env: {variable} holds a text too short for a key; set it again")
        self._value = value or "none"  # an endpoint on this machine may ask for none, and the client for something
        self._secret = len(value) >= SECRET

    def __repr__(self) -> str:
        return "Key(***)"

    def reveal(self) -> str:
        return self._value

    def struck(self, text: str) -> str:
        """A text without the key, as it is or as addresses, JSON and Python write it."""
        forms = {self._value, quote(self._value, safe=""), json.dumps(self._value)[1:-1], repr(self._value)[1:-1]}
        for form in sorted({*forms, self._value.replace("/", "\\/")}, key=len, reverse=True) if self._secret else ():
            text = text.replace(form, "***")
        return text
