"""What is written can be read again, whatever the names and texts are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from x2c_edge.toml_text import from_toml, to_toml

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plain = st.one_of(
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False),
    texts,
    st.lists(texts, max_size=3),
)
tables = st.recursive(
    st.dictionaries(texts, plain, max_size=3), lambda inner: st.dictionaries(texts, plain | inner, max_size=3)
)


def without_empty(table: dict[str, object]) -> dict[str, object]:
    """An empty table leaves no trace."""
    kept = {k: without_empty(v) if isinstance(v, dict) else v for k, v in table.items()}
    return {k: v for k, v in kept.items() if v != {}}


@given(tables)
def test_there_and_back(table: dict[str, object]) -> None:
    assert from_toml(to_toml(table).encode()) == without_empty(table)
