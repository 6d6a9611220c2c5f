"""Ready-made policies as plain files; the header of each says what it does and what to change."""
