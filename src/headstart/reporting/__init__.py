"""From result.json to what people read."""
