"""YAML text → nodes that know file, line and column, what they extend merged in."""
