"""Microsoft Graph: submit finished MIME, and read it back."""
