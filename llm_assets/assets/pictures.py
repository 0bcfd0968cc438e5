"""Pictures for the Dagster UI, which shows a PNG inside Markdown."""

import base64

import dagster as dg


def picture(png: bytes, *, alt: str) -> dg.MarkdownMetadataValue:
    """Return a PNG as metadata; in the UI it stands behind "Show Markdown"."""
    encoded = base64.b64encode(png).decode()
    return dg.MetadataValue.md(f"![{alt}](data:image/png;base64,{encoded})")
