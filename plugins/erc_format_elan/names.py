"""The words by which erc knows its own ELAN files again."""

OURS = "erc-utterance"
"""Linguistic type of the tiers with the words."""

EMOTIONS = "erc-emotion"
"""Linguistic type, and controlled vocabulary, of the tiers with the emotion."""

DETAILS = "erc-detail"
"""Linguistic type of the tiers with confidence, and with what each modality says."""

NOBODY = "(nobody)"
"""How the tier of those without a name is called."""
