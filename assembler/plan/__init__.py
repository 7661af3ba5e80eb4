"""Manifest → `Plan`: every path imported or read from source, every option checked."""
