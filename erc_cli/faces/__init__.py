"""What extractors of faces have in common: detectors, embeddings, the weighted face model, identities."""
