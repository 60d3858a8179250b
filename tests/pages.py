"""What tests of widgets share: a parser of their HTML, and Node.js to run their scripts."""

import json
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


class Page(HTMLParser):
    """Tags with their attributes, and the text of each script."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script" and self.cdata_elem == "script":
            self.scripts.append(data)

    def payload(self):
        return json.loads(self.scripts[0])

    def inputs(self, name):
        return [attributes for tag, attributes in self.tags if tag == "input" and attributes["name"] == name]


def node(program: str, given):
    """Run JavaScript that finds `given` in ``INPUT`` and prints JSON; return what it printed."""
    source = f"const INPUT = {json.dumps(given)};\n{program}"
    result = subprocess.run(
        ["node", "--input-type=module", "-"], input=source, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)
