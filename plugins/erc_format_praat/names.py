"""The names by which erc knows tiers of its own TextGrids again."""

EMOTION = " emotion"
"""What the name of a tier of emotions ends with, after the name of the tier of words."""

NOBODY = "-"
"""How the tier of those without a name is called."""
