"""A Microsoft Graph that lives in this process."""
