"""A listening page of three phrases, with hostile names."""

from wae_jax.listening.page import make_page
from wae_jax.listening.sections import Group, Section

HOSTILE = "</script><img src=x onerror=alert(1)>{{scripts}}&amp;\u2028"
PHRASES = [
    {"name": "Sample 1", "notes": [[4, 69, 0, 192], [0, 36, 0, 1], [0, 42, 96, 1]]},
    {"name": f"Sample 2 {HOSTILE}", "notes": [[1, 60, 0, 48], [1, 60, 48, 24], [3, 40, 12, 24]]},
    {"name": "Sample 3", "notes": []},
]


def small_page(**changes):
    content = {
        "title": f"Listening to {HOSTILE}",
        "summary": "Step 3",
        "sections": [Section("samples", "Random samples", "The first 3 of seed 0.", [Group(PHRASES)])],
        "tables": [
            {"caption": "Last evaluation", "columns": ["", "validation"], "rows": [["f1", "0.5"], [HOSTILE, "1"]]}
        ],
        "provenance": [("config.data.path", HOSTILE)],
    }
    return make_page(**(content | changes))
