"""What operators see and order while an application runs; `facade.Operations` is its face."""
