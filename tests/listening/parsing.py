"""What pages hold, read without a browser."""

import html.parser
import json


class PageParser(html.parser.HTMLParser):
    """The elements of a page, as (tag, attributes), and the text of its data."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.data, self._is_data = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._is_data = dict(attributes).get("id") == "data"

    def handle_data(self, data):
        if self._is_data:
            self.data += data

    def handle_endtag(self, tag):
        self._is_data = False


def data_of(text):
    """The data that a page's scripts read."""
    return json.loads(PageParser(text).data)


def assert_loads_nothing(text):
    """Nothing in the page refers to anything outside it, and its policy forbids that too."""
    tags = PageParser(text).tags
    assert not [tag for tag, _ in tags if tag in ("img", "iframe", "link", "object", "base")]
    assert not [given for _, given in tags if "src" in given or any(name.startswith("on") for name in given)]
    policy = next(given["content"] for _, given in tags if "Security" in given.get("http-equiv", ""))
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http://" not in text
    assert "https://" not in text
