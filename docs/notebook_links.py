"""A hook of MkDocs: links of a notebook to pages beside it, which mkdocs-jupyter leaves as they are."""

import re


def on_page_content(html: str, page, **_) -> str:
    """Turns `href="data.md"` of a notebook into the address of that page on the site."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    return re.sub(r'href="(\w+)\.md(#[\w-]*)?"', r'href="../\1/\2"', html)
