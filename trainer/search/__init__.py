"""Text and image search over cached embeddings of shards, pictures and frames of videos."""
