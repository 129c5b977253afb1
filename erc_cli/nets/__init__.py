"""Networks and losses that several plugins share. The modules here need torch: import them late."""
