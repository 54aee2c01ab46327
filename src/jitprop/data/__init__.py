"""The user's data: checked, cast, split and cut into batches."""
