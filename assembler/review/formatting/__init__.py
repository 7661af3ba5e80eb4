"""The text of a manifest → the same manifest in canonical order and style, its comments kept."""
