"""Whose requests stay on one arm: a key made of the body's user, and the share that it falls into.

Envoy hashes a header. On the routes that carry a salt in their metadata a script makes it of the
first of the body's `safety_identifier`, `user`, and `metadata.session_id`, else of the request's
id. No backend is told it.
"""

from typing import Any

from llm_assets.serving.envoy.files import HTTP_FILTER
from llm_assets.serving.headers import REQUEST_ID, USER

METADATA = "llm_assets"
# Where a body says who asks; the first that does counts.
SELECTORS = {
    "safety_identifier": ("safety_identifier",),
    "user": ("user",),
    "session_id": ("metadata", "session_id"),
}

_FILTER = "envoy.filters.http.lua"
# Base 64, because a client's text may hold line breaks, which must not get into a header.
_SCRIPT = f"""
function envoy_on_request(handle)
  local salt = handle:metadata():get("salt")
  if salt == nil then
    return
  end
  local body = handle:streamInfo():dynamicMetadata():get("{METADATA}") or {{}}
  local key = handle:headers():get("{REQUEST_ID}") or ""
  for _, name in ipairs({{{", ".join(f'"{name}"' for name in SELECTORS)}}}) do
    local value = body[name]
    if value ~= nil and value ~= "" then
      key = tostring(value):sub(1, 256)
      break
    end
  end
  handle:headers():replace("{USER}", handle:base64Escape(salt .. "/" .. key))
  handle:clearRouteCache()
end
"""


def script() -> dict[str, Any]:
    """Return the filter that sets the key; it stands behind the one that reads the body."""
    config = {
        "@type": HTTP_FILTER + "lua.v3.Lua",
        "default_source_code": {"inline_string": _SCRIPT},
    }
    return {"name": _FILTER, "typed_config": config}


def salted(salt: str) -> dict[str, Any]:
    """Return the metadata that make a route sticky."""
    return {"filter_metadata": {_FILTER: {"salt": salt}}}


def hash_policy() -> list[Any]:
    """Return what a route hashes to choose an arm."""
    return [{"header": {"header_name": USER}, "terminal": True}]
