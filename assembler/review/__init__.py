"""Plans, manifests and diagnostics → what people and programs read of them. Never builds."""
